"""Plain Keras, as it stands in many a tutorial."""

import keras

train, test = keras.utils.image_dataset_from_directory(
    "sample_data/images", validation_split=0.2, subset="both", seed=1, color_mode="grayscale", image_size=(8, 8)
)
model = keras.Sequential(
    [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train, validation_data=test, epochs=4)
