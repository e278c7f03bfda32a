"""How the network is trained: the loss, the steps, the optimizer, the end."""

from pyspark.ml.param.shared import HasBatchSize, HasLearningRate, HasLoss, HasSeed

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasObjective(Settings, HasLoss):
    """What is minimised, and what is measured beside it."""

    loss = Setting(
        kinds.named_or_each("a loss"),
        None,
        "name (mse, l1, huber, cross_entropy, nll, bce_with_logits, poisson), torch loss class, or "
        "function(output, target) that returns one value per row; by task where it is not set: mse for a regressor, "
        "cross_entropy for a classifier (bce_with_logits for a network with one output)",
    )
    lossParams = Setting(
        kinds.options_for_each(), {}, "arguments of the loss; with several labels a list, one dict for each"
    )
    lossWeights = Setting(kinds.numbers(0.0), None, "weight of each label's loss in their sum; 1 where it is not set")
    metrics = Setting(
        kinds.named_list("metrics"),
        None,
        "names as in torchmetrics, or functions(output, target), measured in each epoch; by task where it is not set: "
        "accuracy for a classifier, else none; [] measures none",
    )


class HasPasses(Settings, HasBatchSize, HasSeed):
    """The passes over the rows and the steps of each."""

    epochs = Setting(kinds.whole(1), 1, "passes over the rows")
    stepsPerEpoch = Setting(kinds.whole(1), None, "steps after which each epoch is cut; all where it is not set")
    dropLast = Setting(kinds.flag(), False, "whether a partial last batch is left out")
    batchSize = Setting(
        kinds.whole(1),
        256,
        "rows of one optimizer step over all ranks together, so that numProcs changes the speed and not the result",
    )
    accumulationSteps = Setting(kinds.whole(1), 1, "parts in which a rank computes its share of a step")
    shuffle = Setting(kinds.flag(), True, "whether the rows come in another order in each epoch")
    shuffleWindow = Setting(kinds.whole(1), 200_000, "rows that a rank holds in memory to shuffle among")
    seed = Setting(
        kinds.whole(), 42, "seed of the network's first weights, of the order of the rows and of validationFraction"
    )


class HasOptimization(Settings, HasLearningRate):
    """How a step changes the weights."""

    optimizer = Setting(
        kinds.named("an optimizer"), "adamw", "torch.optim's name in lower case, class, or function of the parameters"
    )
    optimizerParams = Setting(kinds.options(), {}, "arguments of the optimizer besides the learning rate")
    learningRate = Setting(kinds.number(above=0.0), 1e-3, "learning rate of the optimizer")
    lrSchedule = Setting(
        kinds.named("a schedule"),
        None,
        "torch.optim.lr_scheduler's class name, or function(optimizer, totalSteps); stepped after each optimizer step",
    )
    lrScheduleParams = Setting(kinds.options(), {}, "arguments of the schedule")
    gradientClipNorm = Setting(
        kinds.number(above=0.0), None, "norm to which the gradient of a step is clipped; not clipped where not set"
    )


class HasArithmetic(Settings):
    """How the network is computed while it is trained."""

    compile = Setting(
        kinds.flag_or_options(),
        False,
        "whether training steps go through torch.compile, or arguments of it; validation and the saved network do not",
    )
    matmulPrecision = Setting(
        kinds.one_of("highest", "high", "medium"),
        "highest",
        "precision inside of float32 matrix products while training, as in torch.set_float32_matmul_precision: high "
        "is TF32 on GPUs that have it; highest leaves torch's setting alone",
    )


class HasStopping(Settings):
    """When training ends before its last epoch, and who may look on."""

    earlyStoppingPatience = Setting(
        kinds.whole(1),
        None,
        "epochs without progress (0.01% of the best is none) after which training ends; the best weights are kept",
    )
    earlyStoppingMetric = Setting(
        kinds.text(), "val_loss", "what must make progress: a column of the history, loss or a metric, val_ in front"
    )
    callbacks = Setting(kinds.callbacks(), [], "sparkdl.train.Callback instances, called on every rank")
