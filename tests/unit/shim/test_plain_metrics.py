"""Figures in what programs print: what is taken, and what is left alone."""

from __future__ import annotations

import math

import pytest

from parallel_ml.runtime.shim.plain_metrics import Found, PlainReader

KERAS_BAR = "\x1b[1m{}/7\x1b[0m \x1b[32m━━━━━━\x1b[0m\x1b[37m━━━\x1b[0m \x1b[1m1s\x1b[0m 55ms/step - {}\x08\x08\x08"
BAR = "100%|██████████| 8/8 [00:01<00:00,  7.53it/s{}]"

WITH_ITS_EPOCH = [
    # hand-written
    ("Epoch 3/10 - loss: 0.5 - val_accuracy: 0.9", 3, 10, {"train_loss": 0.5, "val_accuracy": 0.9}),
    ("[epoch 3] train loss 0.51 val acc 0.91", 3, None, {"train_loss": 0.51, "val_accuracy": 0.91}),
    ("epoch=3 loss=0.5", 3, None, {"train_loss": 0.5}),
    ("epoch: 7, loss: 1.25e-3, lr: 1e-4", 7, None, {"train_loss": 0.00125, "learning_rate": 1e-4}),
    ("Epoch [2/5], Loss: 0.4321", 2, 5, {"train_loss": 0.4321}),
    ("Epoch: [4] train_loss=0.31 valid_loss=0.42", 4, None, {"train_loss": 0.31, "val_loss": 0.42}),
    ("Epoch 2 of 20: avg loss = .693", 2, 20, {"train_loss": 0.693}),
    ("Epoch: 01 | Train Loss: 0.512 | Train Acc: 81.25%", 1, None, {"train_loss": 0.512, "train_accuracy": 0.8125}),
    ("\t Epoch 5 | Val. Loss: 0.33 | Val. Acc: 87.01%", 5, None, {"val_loss": 0.33, "val_accuracy": 0.8701}),
    (
        "Epoch 6 - train: loss 0.5, acc 0.8 - val: loss 0.6, acc 0.7",
        6,
        None,
        {"train_loss": 0.5, "train_accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.7},
    ),
    ("Epoch 3/10 (12.4s): trainLoss 0.5, valAcc 0.75", 3, 10, {"train_loss": 0.5, "val_accuracy": 0.75}),
    ("Epoch 004 | loss=0.25 | f1=0.5 | best 0.61", 4, None, {"train_loss": 0.25, "f1": 0.5}),
    ("Validation epoch 3: loss=0.4, auc=0.77", 3, None, {"val_loss": 0.4, "val_auc": 0.77}),
    ("Epoch 9: loss tensor(0.5123, grad_fn=<NllLossBackward0>)", 9, None, {"train_loss": 0.5123}),
    ("Epoch 8, D_loss: 0.61, G_loss: 1.2, loss_d: 0.3", 8, None, {"d_loss": 0.61, "g_loss": 1.2, "loss_d": 0.3}),
    ("Epoch 2/3 - loss: nan", 2, 3, {"train_loss": math.nan}),
    ("Epoch 5/5 | test RMSE 3.2 | test MAE 2.5", 5, 5, {"test_rmse": 3.2, "test_mae": 2.5}),
    ("epoch 12, loss -4.5, acc1 71.2%, acc5 90.0%", 12, None, {"train_loss": -4.5, "acc1": 0.712, "acc5": 0.9}),
    ("loss: 0.25, val_loss: 0.5, epoch: 4", 4, None, {"train_loss": 0.25, "val_loss": 0.5}),
    # with the head of a log line
    ("2026-01-01 12:00:00,123 - INFO - Epoch 1/4 - loss: 0.5", 1, 4, {"train_loss": 0.5}),
    ("2026-01-01T12:00:00.1Z epoch 2 loss 0.25", 2, None, {"train_loss": 0.25}),
    ("INFO:trainer:Epoch 2/4: val_loss=0.5", 2, 4, {"val_loss": 0.5}),
    ("2026-01-01 12:00:00.123 | INFO     | __main__:fit:42 - Epoch 3 loss 0.1", 3, None, {"train_loss": 0.1}),
    ("[rank0]: Epoch 1 train/loss 0.75", 1, None, {"train_loss": 0.75}),
    ("I0101 12:00:00.000001 140 train.py:45] Epoch 6 loss: 0.5", 6, None, {"train_loss": 0.5}),
    # JSON and Python dictionaries
    ('{"epoch": 3, "loss": 0.5, "val/acc": 0.75}', 3, None, {"train_loss": 0.5, "val_accuracy": 0.75}),
    (
        "{'eval_loss': 0.3, 'eval_f1': 0.9, 'eval_runtime': 1.2, 'epoch': 1.0}",
        1,
        None,
        {"val_loss": 0.3, "val_f1": 0.9},
    ),
    # Lightning's bar, and tqdm's with a description
    (
        "Epoch 2: " + BAR.format(", v_num=0, train_loss_step=0.3, train_loss_epoch=0.45, val_acc=0.875"),
        2,
        None,
        {"train_loss": 0.45, "val_accuracy": 0.875},
    ),
    ("Epoch 0/2: " + BAR.format(", v_num=1, train_loss=0.5"), 0, 2, {"train_loss": 0.5}),
    ("Epoch 3/10: " + BAR.format(", loss=0.12, acc=0.9"), 3, 10, {"train_loss": 0.12, "train_accuracy": 0.9}),
    ("Epochs:  30%|███       | 3/10 [00:12<00:28,  4.1s/it, loss=0.12]", 3, 10, {"train_loss": 0.12}),
    (" 30%|███       | 3/10 [00:12<00:28,  4.1s/epoch, loss=0.12]", 3, 10, {"train_loss": 0.12}),
]

WITHOUT = [
    "",
    "loss: 0.5 - val_loss: 0.6",
    "Epoch 3/10",
    "Epoch 3 took 12.5 s",
    "epochs=10 lr=0.1 loss=0.5",
    "epochs: 10, batch size 32, loss: 0.5",
    "Namespace(epoch=10, lr=0.1, loss='mse')",
    "Epoch 3, step 100/500, loss 0.41",
    "Epoch 3 step 100 loss 0.41",
    "Epoch [1/5], Step [100/600], Loss: 0.2134",
    "Train Epoch: 3 [6400/60000 (11%)]\tLoss: 0.512345",
    "Epoch: [0][ 10/5005]\tTime  0.2 ( 0.3)\tLoss 6.9e+00 (6.95e+00)\tAcc@1 0.00 (0.10)",
    "Epoch 3/10:  62%|██████▎   | 5/8 [00:01<00:00,  7.5it/s, loss=0.12]",
    "Epoch 1:   0%|          | 0/8 [00:00<?, ?it/s, v_num=0, train_loss=0.5]",
    "Epoch:  30%|███       | 3/10",
    " 38%|███▊      | 3/8 [00:01<00:02,  4.1it/s, loss=0.12]",
    BAR.format(", loss=0.12"),
    "Epochs:   0%|          | 0/10 [00:00<?, ?it/s, loss=0.12]",
    "7/7 - 0s - 18ms/step - accuracy: 0.5392 - loss: 0.6823",
    "Best epoch: 3 - val_loss: 0.25",
    "Resuming from epoch 5, loss=0.4",
    "INFO: Loaded checkpoint from epoch 12 (loss 0.34)",
    "The best model was found in epoch 4 with val_acc 0.91",
    "Epoch 5: val_loss improved from 0.51234 to 0.48, saving model to best.keras",
    "Epoch 00005: val_loss did not improve from 0.48123",
    "Epoch 4: ReduceLROnPlateau reducing learning rate to 0.0005000000237487257.",
    "Epoch 3, global step 400: 'val_loss' reached 0.45000 (best 0.45000), saving model to 'a.ckpt' as top 1",
    "Epoch 8: early stopping",
    "Restoring model weights from the end of the best epoch: 3.",
    "Epoch 3: lr=0.001",
    "{'loss': 0.69, 'learning_rate': 5e-05, 'epoch': 0.64}",
    "Epoch 2.5 loss 0.5",
    "Epoch 11/10 loss 0.5",
    "epoch 1767225600000 loss 0.5",
    "WARNING: epoch 3 loss is 0.5",
    "each epoch 3 workers report loss 0.5",
    "Epoch 3: loss weights 0.3, batch_size 64",
    "Epoch 3: loss 10:32:01",
    "Epoch 3: loss 3.4.1",
    "Epoch 3: loss_scale=65536.0",
    "Epoch 3: accuracy 9845/10000",
    "    loss = epoch_3_loss(model, 0.5)",
]


def read(*lines: str) -> list[Found]:
    """Return what a stream's lines tell."""
    reader = PlainReader()
    return [found for found in map(reader.read, lines) if found is not None]


@pytest.mark.parametrize(("line", "epoch", "epochs", "figures"), WITH_ITS_EPOCH, ids=range(len(WITH_ITS_EPOCH)))
def test_a_line_with_an_epoch_and_figures_is_read(
    line: str, epoch: int, epochs: int | None, figures: dict[str, float]
) -> None:
    """The epoch as printed, the figures under the names of metrics.jsonl."""
    (found,) = read(line)
    assert (found.epoch, found.epochs) == (epoch, epochs)
    assert repr(found.figures) == repr(figures)  # nan is not equal to itself


@pytest.mark.parametrize("line", WITHOUT, ids=range(len(WITHOUT)))
def test_a_line_that_leaves_anything_open_is_left_alone(line: str) -> None:
    """No epoch, no figure, a part of an epoch, a talk of another epoch."""
    assert read(line) == []


def test_the_bar_of_keras_is_read_when_it_is_full() -> None:
    """verbose=1: the heading names the epoch, the last picture of the bar has the figures."""
    figures = "accuracy: 0.5392 - loss: 0.6858 - val_accuracy: 0.6538 - val_loss: 0.6530 - learning_rate: 0.0010"
    (found,) = read("Epoch 1/2", KERAS_BAR.format(3, "accuracy: 0.1 - loss: 0.9"), KERAS_BAR.format(7, figures))
    assert found[:2] == (1, 2)
    assert found.figures == {
        "train_accuracy": 0.5392,
        "train_loss": 0.6858,
        "val_accuracy": 0.6538,
        "val_loss": 0.653,
        "learning_rate": 0.001,
    }


def test_a_line_of_keras_without_a_bar_is_read() -> None:
    """verbose=2, as Keras 3 and Keras 2 print it; metrics of one's own are kept by their names."""
    lines = (
        "7/7 - 0s - 18ms/step - my_metric: 0.5 - loss: 0.6823",
        "7/7 - 1s - loss: 0.5 - accuracy: 0.75 - 620ms/epoch - 89ms/step",
    )
    first, second = read("Epoch 1/2", lines[0], "Epoch 2/2", lines[1])
    assert first[:3] == (1, 2, {"my_metric": 0.5, "train_loss": 0.6823})
    assert second[:3] == (2, 2, {"train_loss": 0.5, "train_accuracy": 0.75})


def test_a_bar_of_batches_belongs_to_the_heading_above_it() -> None:
    """`print("Epoch 3/10")`, then tqdm over the batches."""
    (found,) = read("Epoch 3/10", "----------", " 50%|█ | 4/8 [0:1<0:1, 2it/s, loss=9]", BAR.format(", loss=0.12"))
    assert found == Found(3, 10, {"train_loss": 0.12}, certain=False)


def test_lines_of_a_phase_belong_to_the_heading_above_them() -> None:
    """As the transfer learning tutorial of PyTorch prints them; its last lines tell of no epoch."""
    lines = (
        "train Loss: 0.49 Acc: 0.77",
        "val Loss: 0.2 Acc: 0.93",
        "",
        "Training complete in 1m 5s",
        "Best val Acc: 0.95",
    )
    train, val = read("Epoch 0/24", "----------", *lines)
    assert (train.epoch, train.figures) == (0, {"train_loss": 0.49, "train_accuracy": 0.77})
    assert (val.epoch, val.figures) == (0, {"val_loss": 0.2, "val_accuracy": 0.93})


def test_the_figures_of_a_batch_under_a_heading_are_left_alone() -> None:
    """As the quickstart of PyTorch prints them."""
    assert (
        read("Epoch 1", "-----", "loss: 2.303494  [   64/60000]", "Test Error:", " Accuracy: 44.3%, Avg loss: 2.1")
        == []
    )


MNIST = "Train Epoch: {} [{}/60000 ({}%)]\tLoss: {}"
TEST_SET = "Test set: Average loss: 0.8026, Accuracy: 943/1000 (94%)"


def test_the_examples_of_pytorch_tell_an_epoch_with_its_test() -> None:
    """The last loss of the training, and what the examples call a test is looked at after each epoch."""
    first, second = read(
        MNIST.format(1, 0, 0, 2.3),
        MNIST.format(1, 12800, 21, 2.2),
        "",
        TEST_SET,
        MNIST.format(2, 0, 0, 0.5),
        "Validation set: Average loss: 0.5, Accuracy: 9900/10000 (99.00%)",
    )
    assert first == Found(1, None, {"train_loss": 2.2, "val_loss": 0.8026, "val_accuracy": 0.943}, certain=False)
    assert second == Found(2, None, {"train_loss": 0.5, "val_loss": 0.5, "val_accuracy": 0.99}, certain=False)


def test_the_last_batch_of_an_epoch_tells_it() -> None:
    """One more step would be beyond the end; where no test follows, nothing else says that the epoch is over."""
    assert read(*(MNIST.format(1, done, done // 600, done / 1e5) for done in (0, 25600, 51200))) == [
        Found(1, None, {"train_loss": 0.512}, certain=False)
    ]


def test_a_test_line_after_a_bar_belongs_to_its_epoch() -> None:
    """As the examples of PyTorch with tqdm around the batches."""
    train, test = read("Epoch 1: " + BAR.format(", loss=0.12"), "", TEST_SET)
    assert (train.epoch, train.figures) == (1, {"train_loss": 0.12})
    assert (test.epoch, test.figures) == (1, {"val_loss": 0.8026, "val_accuracy": 0.943})


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Epoch 1 loss 0.5", "Epoch 2 loss 0.25"),
        ("Epoch 1 loss 0.5 val_loss 0.75",),
    ],
    ids=["before", "at the end alone", "beside a validation"],
)
def test_a_test_that_is_of_no_epoch_is_left_alone(lines: tuple[str, ...]) -> None:
    """Before the training, after all of it, or beside a validation."""
    assert len(read(*lines, TEST_SET)) == len(lines)


def test_the_bar_that_lightning_draws_with_rich_counts_from_0() -> None:
    """`Epoch 3/3` is the last of four; its figures may go on in the next line."""
    bar = "Epoch 3/3 {} 8/8 0:00:00 • 0:00:00 470.67it/s v_num: 0.000 val_loss: 1.259   "
    wrapped = " " * 60 + "train_loss: 1.445 "
    first, second = read(bar.format("━" * 17), wrapped, wrapped)
    assert first == Found(3, 4, {"val_loss": 1.259}, certain=True)
    assert second == Found(3, 4, {"train_loss": 1.445}, certain=True)
    assert read(bar.replace("8/8", "3/8").format("━━╸━")) == []


def test_a_bar_of_rich_that_is_drawn_again_shows_an_epoch_when_the_next_begins() -> None:
    """A full one may have the figures of the epoch before; of the last epoch there is no other."""
    bar = "\x1b[1A\x1b[2KEpoch {}/1  \x1b[35m━━━━\x1b[0m {}/8 \x1b[2m0:00:00 • 0:00:00\x1b[0m 470.6it/s val_loss: {}   "
    pictures = (bar.format(0, 0, 9), bar.format(0, 8, 9), bar.format(1, 0, 0.5), bar.format(1, 4, 0.5))
    assert read(*pictures) == [Found(0, 2, {"val_loss": 0.5}, certain=True)]
    assert read(bar.format(1, 8, 0.25)) == [Found(1, 2, {"val_loss": 0.25}, certain=True)]


@pytest.mark.parametrize(
    "lines",
    [
        ("epoch,step,train_loss,val_loss", "0,63,0.5,", "0,63,,0.25"),
        ("epoch     train_loss  valid_loss  time", "0         0.5         0.25        00:12"),
        ("  epoch    train_loss    valid_loss     dur", "-------  ------------  -----", "0  0.5  0.25  0.04"),
        ("| epoch | train_loss | val_loss |", "|---|---|---|", "| 0 | 0.5 | 0.25 |"),
    ],
    ids=["csv", "fastai", "skorch", "markdown"],
)
def test_a_table_is_read_row_by_row(lines: tuple[str, ...]) -> None:
    """A line of names with `epoch` among them heads it; figures of other columns are not taken."""
    found = read(*lines)
    assert {one.epoch for one in found} == {0}
    assert {name: value for one in found for name, value in one.figures.items()} == {
        "train_loss": 0.5,
        "val_loss": 0.25,
    }


def test_a_table_ends_with_the_first_line_that_is_no_row() -> None:
    """Numbers that come later are something else."""
    assert read("epoch,loss", "1,0.5", "done", "2,0.25")[-1].epoch == 1


def test_a_long_line_costs_no_time() -> None:
    """Whatever a program prints, its shim must not hang."""
    for text in (
        "epoch 1 " + "a-" * 900,
        "epoch=1 " + "a=b," * 450 + "!",
        "Epoch 1 loss " + "1" * 1800,
        "epoch " * 300,
        "epoch" + " " * 900 + "x",
    ):
        assert read(text) == []
