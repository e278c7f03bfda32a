"""What is said about a fit, and where it is recorded."""

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasReporting(Settings):
    """Progress on the driver, and MLflow."""

    verbose = Setting(kinds.level(2), 1, "0 silent, 1 progress, 2 a line for each epoch")
    mlflow = Setting(
        kinds.switch(), "auto", "auto records a run when there is an active one or a tracking URI; true, false"
    )
