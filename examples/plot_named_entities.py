"""
Named entities, from a table of words
=====================================

Corpora with named entities often come as a table: a line for each word, with the number
of its sentence and a tag. You learn to turn that table into lists of words, to fit
:class:`~sksemantic.SKTuningTokenClassifier`, and to get whole names back, with their
place in the sentence.
"""

# %%
# The data
# --------
# Sixty sentences written for this example. Names of persons are marked with ``<`` and
# ``>``, those of places with ``[`` and ``]``. From them we make the table that you
# would otherwise read from a file.
import re

import pandas as pd
from sklearn.metrics import ConfusionMatrixDisplay

from sksemantic import SKTuningTokenClassifier

pd.options.display.max_colwidth = 200  # show whole texts

SENTENCES = """\
<Anna Berger> moved to [Oslo] last spring .
The train from [Milan] to [Rome] was late again .
I met <Tom> at the station in [Leeds] .
<Maria Silva> teaches physics in [Porto] .
We had dinner with <Dr. Okafor> and his wife .
The mayor of [Toulouse] opened the new bridge .
<Peter> forgot his keys at the office .
In [New Zealand] the summer begins in December .
My brother <Luis> works for a bank in [Madrid] .
She flew from [Hong Kong] to [Sydney] overnight .
The letter was signed by <Helen Clarke> .
Nobody answered the phone this morning .
<Yuki Tanaka> won the race in [Osaka] .
It rained in [Bergen] for three weeks .
Please ask <Omar> about the invoice .
The museum in [Cairo] is closed on Mondays .
<Ingrid Larsen> and <Jonas> share a flat in [Copenhagen] .
The river rises in the hills near [Basel] .
Our new colleague is called <Priya Nair> .
He studied law in [Buenos Aires] .
The concert was sold out within an hour .
<Mr. Novak> bought a house outside [Prague] .
They crossed [Germany] by bicycle .
<Fatima> sent a postcard from [Tunis] .
The bakery opens at six in the morning .
<John Miller> was born in [South Africa] .
The road to [Nairobi] was flooded .
Yesterday <Elena> called from [Athens] .
A cold wind came down from the mountains .
<Chen Wei> explained the results to us .
The ferry to [Dover] leaves at noon .
<Karim Haddad> runs a restaurant in [Beirut] .
The price of bread has gone up again .
<Sofia> and her daughter live in [Lisbon] .
Half of the class was ill last week .
The airline no longer flies to [Reykjavik] .
<David Cohen> wrote a book about [Jerusalem] .
They sold their car before the move .
<Nina Petrova> sang at the opera in [Vienna] .
[Canada] and [Mexico] signed the treaty .
<Paul> lost his passport in [Marrakesh] .
The garden needs water every evening .
<Aisha Bello> studies medicine in [Lagos] .
The old harbour of [Genoa] is worth a visit .
Can you give this to <Mrs. Walker> ?
<Marco Rossi> repairs clocks in [Turin] .
The students waited for <Professor Lindqvist> .
<Hannah> takes the bus to [Brighton] every day .
The storm reached [Cuba] on Friday .
<Ahmed> has two sisters in [Istanbul] .
Two tickets to [Budapest] , please .
<Julia Weber> painted the kitchen yellow .
The last tiger in [Java] was seen long ago .
<Samuel Osei> coaches the team from [Accra] .
The film was shot in [Morocco] .
I owe <Katarina> twenty euros .
The factory near [Detroit] closed in June .
<Ben Carter> never liked [London] .
A parcel for <Lucia Romano> came from [Naples] .
Dinner is at eight on the terrace ."""
TAGS = {"<": "PER", "[": "LOC"}


def make_table(text):
    """Return a line for each word: the number of the sentence, the word and its tag."""
    lines = []
    for number, sentence in enumerate(text.splitlines()):
        inside = None
        for token in re.findall(r"[<\[\]>]|[^\s<\[\]>]+", sentence):
            if token in TAGS:
                inside, place = TAGS[token], "B"
            elif token in ">]":
                inside = None
            else:
                tag = f"{place}-{inside}" if inside else "O"
                lines.append((number, token, tag))
                place = "I"
    return pd.DataFrame(lines, columns=["sentence", "word", "tag"])


table = make_table(SENTENCES)
table.head(8)

# %%
# From a line for each word to a list for each sentence
# -----------------------------------------------------
# This is all that a table in this form needs. ``sort=False`` keeps the order.
by_sentence = table.groupby("sentence", sort=False)
words = by_sentence["word"].agg(list)
tags = by_sentence["tag"].agg(list)
train, test = slice(0, 40), slice(40, 60)
print(words[0])
print(tags[0])

# %%
# The fit
# -------
# ``score`` is the F1 of whole names, by the rules of CoNLL: a name counts if its first
# and last word and its kind are right.
tagger = SKTuningTokenClassifier(
    prompt="Find the names of persons and places.", random_state=0
)
tagger.fit(words[train], tags[train])
print(f"F1 on the last 20 sentences: {tagger.score(words[test], tags[test]):.3f}")

# %%
# Word by word, the answers of the test sentences against their tags:
predicted = tagger.predict(words[test])
display = ConfusionMatrixDisplay.from_predictions(
    [tag for sentence in tags[test] for tag in sentence],
    [tag for sentence in predicted for tag in sentence],
    cmap="Blues",
    colorbar=False,
)
display.ax_.set_title("words of the test sentences")

# %%
# Whole names
# -----------
# A name starts with a "B-" tag and goes on with "I-" tags of the same kind.


def spans_of(words, tags):
    """Return each name of a sentence: kind, first word, one after the last, text."""
    spans, start = [], None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and tag != f"I-{tags[start][2:]}":
            spans.append((tags[start][2:], start, i, " ".join(words[start:i])))
            start = None
        if tag != "O" and start is None:
            start = i
    return spans


# %%
# New text can be a string, which is split at white space, so set marks of punctuation
# apart. With lists of words you decide yourself what a word is.
new = [
    "Yesterday Carla Jimenez drove from Seville to Granada .",
    "Our neighbour Mr. Schmidt has never been to Paris .",
    "There is no milk left in the fridge .",
]
rows = [
    (sentence, *span)
    for sentence, tags_ in zip(new, tagger.predict(new), strict=True)
    for span in spans_of(sentence.split(), tags_)
]
pd.DataFrame(rows, columns=["sentence", "kind", "from", "to", "name"])
