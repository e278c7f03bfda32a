// Made by docs/make_params.py from the declarations in sparkdl/params/stages.py: change those.
package sparkdl.params

/** What all estimators have. */
trait TrainingParams
    extends HasInputs
    with HasLabel
    with HasPrediction
    with HasRowRoles
    with HasNetwork
    with HasObjective
    with HasPasses
    with HasOptimization
    with HasArithmetic
    with HasStopping
    with HasDevice
    with HasRanks
    with HasCache
    with HasCheckpoints
    with HasReporting

/** TorchEstimator's Params. */
trait EstimatorParams extends HasLabels with HasOutputs with TrainingParams

/** TorchClassifier's Params. */
trait ClassifierParams extends HasClassColumns with HasClasses with TrainingParams

/** TorchRegressor's Params. */
trait RegressorParams extends TrainingParams

/** What all models have. */
trait ModelParams extends HasInputs with HasPrediction with HasScoring
