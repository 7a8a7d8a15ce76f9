"""A scikit-learn classifier on its own handwritten digits: params, a seed, and each epoch reported."""

import argparse

from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from parallel_ml import params, report, should_stop

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=42)
seed = parser.parse_args().seed
epochs = params.get("epochs", 10)  # outside a job params is empty

images, labels = load_digits(return_X_y=True)
# The split is the same for every seed, so that the figures of several jobs can be compared.
x, x_val, y, y_val = train_test_split(images / 16, labels, test_size=0.2, stratify=labels, random_state=0)
model = MLPClassifier(
    hidden_layer_sizes=params.get("hidden_units", [64]),
    learning_rate_init=params.get("learning_rate", 0.001),
    batch_size=params.get("batch_size", 32),
    random_state=seed,
)
for epoch in range(1, epochs + 1):
    model.partial_fit(x, y, classes=range(10))
    guesses = model.predict_proba(x_val)
    val_loss, val_accuracy = log_loss(y_val, guesses), accuracy_score(y_val, guesses.argmax(axis=1))
    report(epoch=epoch, epochs=epochs, loss=model.loss_, val_loss=val_loss, val_accuracy=val_accuracy)
    if should_stop():  # `parallel-ml stop`, or Ctrl-C
        break
