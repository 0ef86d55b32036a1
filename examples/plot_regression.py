"""
Numbers from texts
==================

How long is a bus, a bacterium, or the Nile? :class:`~sksemantic.SKTuningRegressor`
predicts numbers instead of labels. A language model has read about things, so it knows
something of the size of one that it was never trained on; word counts know nothing of a
new word. You learn to fit the regressor, to follow its training with
:class:`~sksemantic.TuningCurveDisplay`, and to look at the errors.
"""

# %%
# The data
# --------
# Things and their rough length in metres, written down for this example from general
# knowledge. They are no measurements: an order of magnitude is what they are good for.
# So the target is the logarithm of the length: -3 is a millimetre, 3 a kilometre.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.dummy import DummyRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import PredictionErrorDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sksemantic import SKTuningRegressor, TuningCurveDisplay

THINGS = """
a virus 1e-7; a bacterium 2e-6; a yeast cell 5e-6; a red blood cell 8e-6; a pollen
grain 3e-5; a speck of dust 5e-5; the width of a hair 8e-5; a sheet of paper, its
thickness 1e-4; a grain of fine sand 3e-4; a dust mite 3e-4; a pinhead 1.5e-3; a flea
2e-3; a grain of salt 5e-4; a poppy seed 1e-3; a sesame seed 3e-3; a fruit fly 3e-3;
an ant 5e-3; a grain of rice 6e-3; a ladybird 7e-3; a housefly 8e-3; a pea 8e-3; a
coffee bean 1e-2; a bee 1.5e-2; a fingernail 1.2e-2; a shirt button 1.2e-2; a coin
2e-2; a wasp 1.7e-2; a grape 2e-2; a cherry 2e-2; a walnut 4e-2; a paper clip 3e-2; a
postage stamp 3e-2; a matchstick 4.5e-2; a key 6e-2; a beetle 2e-2; a hummingbird
9e-2; an egg 6e-2; a lemon 8e-2; a mouse 9e-2; an apple 8e-2; a sparrow 1.4e-1; a frog
8e-2; a teaspoon 1.4e-1; a pencil 1.8e-1; a banana 1.9e-1; a toothbrush 1.9e-1; a
smartphone 1.5e-1; a squirrel 2.3e-1; a fork 2e-1; a shoe 3e-1; a paperback book
1.8e-1; a hammer 3e-1; a pigeon 3.3e-1; a rat 2.2e-1; a crow 4.7e-1; a hedgehog
2.3e-1; a rabbit 4e-1; a loaf of bread 3e-1; a dinner plate 2.7e-1; a football 2.2e-1;
a laptop 3.4e-1; a house cat 4.6e-1; a violin 6e-1; a newborn baby 5e-1; a baseball
bat 1; a fox 7e-1; an umbrella 9e-1; a guitar 1; a walking stick 9e-1; a swan 1.5; a
wolf 1.3; a sheep 1.4; a bathtub 1.7; a bicycle 1.8; a woman 1.6; a tall man 1.9; a
door 2; a sofa 2.1; a bed 2; a motorcycle 2.1; a lion 2; a tiger 2; a horse 2.4; a cow
2.4; a piano 1.5; a dolphin 2.5; a python 5; a canoe 5; a small car 3.8; a crocodile
4; a rhinoceros 3.8; a giraffe, its height 5; a great white shark 5; a van 5.5; an
elephant 6; a limousine 8; a truck 10; a city bus 12; a killer whale 7; a sailing boat
12; a humpback whale 14; a railway carriage 25; a blue whale 25; a tennis court 24; a
small aeroplane 10; a swimming pool 25; an oak tree, its height 25; a lighthouse 35; a
jumbo jet 70; a church tower 60; a football pitch 105; a redwood tree, its height 90;
a freight train 700; an aircraft carrier 330; a cruise ship 300; an oil tanker 330; a
city block 100; a skyscraper 300; the Eiffel Tower, its height 330; a runway of an
airport 3e3; a large dam 600; a village street 400; a suspension bridge 2e3; a hill,
its height 200; a city park 1.5e3; a small lake 2e3; a mountain, its height 3e3; Mount
Everest, its height 8.8e3; a small island 5e3; a tunnel through the Alps 3e4; a
marathon 4.2e4; a large city 4e4; the English Channel, its width 3.4e4; a motorway
from city to city 2e5; a glacier 1e4; a great lake 3e5; the river Thames 3.5e5; the
river Rhine 1.2e6; Switzerland 3.5e5; Italy 1.2e6; France 1e6; the Alps 1.2e6; the
Danube 2.8e6; the Mississippi 3.7e6; the Sahara 4.8e6; the Amazon river 6.4e6; the
Nile 6.6e6; Africa 8e6; the Great Wall of China 8e6; the equator 4e7; the Moon, its
diameter 3.5e6; the Earth, its diameter 1.3e7
"""
pairs = [thing.rsplit(None, 1) for thing in THINGS.replace("\n", " ").split(";")]
things = pd.DataFrame(pairs, columns=["thing", "metres"])
things["thing"] = things["thing"].str.strip()
things["log10"] = np.log10(things["metres"].astype(float))
train, test = train_test_split(things, test_size=0.3, random_state=0)
print(f"{len(train)} things to train on, {len(test)} to test on")

# %%
# The regressor
# -------------
# The targets are standardised inside; predictions are in their units.
reg = SKTuningRegressor(prompt="How long is this thing?", random_state=0)
reg.fit(train["thing"], train["log10"])
reg.predict(["a spoon", "a caterpillar", "a submarine"]).round(1)

# %%
# The training
# ------------
# Some of the training texts are held out, to compare what is trained with the linear
# probe: ridge regression on what the frozen model makes of the texts. After half of the
# epochs they join the training, and their curve ends.
TuningCurveDisplay.from_estimator(reg)

# %%
# The errors
# ----------
# Word counts know a thing only by words that it shares with others, such as "grain" or
# "diameter". For all things without one they predict the same number.
words = make_pipeline(TfidfVectorizer(), RidgeCV(np.logspace(-2, 2, 9)))
models = {
    "SKTuningRegressor": reg,
    "TF-IDF + RidgeCV": words.fit(train["thing"], train["log10"]),
    "the mean": DummyRegressor().fit(train["thing"], train["log10"]),
}
predicted = {name: model.predict(test["thing"]) for name, model in models.items()}
pd.DataFrame(
    {
        name: {
            "mean absolute error, powers of ten": np.abs(test["log10"] - p).mean(),
            "R2": models[name].score(test["thing"], test["log10"]),
        }
        for name, p in predicted.items()
    }
).T.round(2)

# %%
# One point is one thing. On the line the prediction is right.
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharey=True)
for ax, name in zip(axes, models, strict=False):
    PredictionErrorDisplay.from_predictions(
        test["log10"], predicted[name], kind="actual_vs_predicted", ax=ax
    )
    ax.set(title=name, xlabel="log10 of metres, predicted", ylabel="as written down")
    ax.set(xticks=range(-6, 9, 2), yticks=range(-6, 9, 2))
plt.show()
