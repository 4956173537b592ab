"""For encoders: the loss of a batch, what batches show, and what theory predicts of them.

Files: batch_loss, sincere, monitor, predict, last_layer (a classifier's); experiments (trained
encoders, extra: train).
"""

from ssem_jax.training.batch_loss import supcl_loss as supcl_loss
from ssem_jax.training.last_layer import LastLayerMonitor as LastLayerMonitor
from ssem_jax.training.monitor import BatchMonitor as BatchMonitor
from ssem_jax.training.monitor import batch_variances as batch_variances
from ssem_jax.training.predict import BatchPrediction as BatchPrediction
from ssem_jax.training.predict import predict_batch as predict_batch
from ssem_jax.training.sincere import sincere_loss as sincere_loss
