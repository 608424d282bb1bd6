"""What MapReader asks of each of its maps, with a hint for each way to go wrong.

A place is a row and a column, a row alone, or the number of a choice, as ``kind`` says; -1 in a hint stands for any.
``at`` is where the reader starts, and a hint is said to the first that fits. The numbers in the texts, and that the
answer is the only one, are proved in ``tests/widgets/test_map_reader.py``.
"""

from typing import Any

__all__ = ["KINDS", "QUESTIONS"]

KINDS = {"choice": 1, "row": 1, "cell": 2}  # and how many numbers an answer has


def _question(name: str, kind: str, asks: str, right: list[int], why: str, hints: Any, **more: Any) -> dict[str, Any]:
    told = [{"to": list(place), "said": said} for place, said in hints.items()]
    given = {"choices": [], "at": [0, 0], "circle": "", "between": "to", **more}
    return {"name": name, "kind": kind, "asks": asks, "right": right, "why": why, "hints": told, **given}


QUESTIONS = [
    _question(
        "Rows and columns",
        "cell",
        "Each token looks along its row. How much does “home” look at “mortgage”? Go to that cell.",
        [8, 5],
        "Who looks stands at the left, what is looked at above. “home” gives 0.59 to “mortgage”, and “mortgage” 0.11 "
        "to “home”: a map need not be the same on both sides of its diagonal.",
        {
            (5, 8): "This is how much “mortgage” looks at “home”, 0.11. Who looks stands at the left.",
            (8, -1): "The row is the right one. What is looked at stands above.",
            (-1, 5): "The column is the right one. Who looks is another row.",
            (-1, -1): "Find “home” at the left, then “mortgage” above.",
        },
    ),
    _question(
        "What sums to one",
        "choice",
        "Someone drew the map of a head and did not say which side looks. Do all tokens look at [CLS], or does [CLS] "
        "look at all of them? The line under the map has the sums.",
        [1],
        "A look hands out one in all. Here the columns sum to 1.00 and the row of [CLS] to 8.67, so the columns look: "
        "the picture is turned round, against the way of this book.",
        {
            (0,): "Then the row of [CLS] would be one look and sum to one. It sums to 8.67.",
            (2,): "It can: the weights of one look sum to one. On which side do they?",
        },
        choices=["[CLS] looks at all tokens.", "All tokens look at [CLS].", "The map cannot tell."],
        between="and",
    ),
    _question(
        "Padding",
        "row",
        "This verse was filled up with three empty places. They should have been hidden and were not, and the picture "
        "leaves their columns out. In which row did they get most?",
        [6],
        "In the row of “what” 0.25 is left, and 0.75 lies on places that hold nothing. With a mask the row would sum "
        "to one. Where rows do not, ask what was cut off before you read on.",
        {
            (5,): "Nearly: 0.28 is left in this row, and one other has less.",
            (7,): "The faintest row: no word has more than 0.08. Together they have 0.31, and another row has less.",
            (-1,): "What a row lacks to one went to what was left out. Another row sums to less.",
        },
    ),
    _question(
        "The mean of heads",
        "choice",
        "In the mean of these five heads no token gets more than 0.4 from “holds”. How many of the five put more than "
        "0.8 of that row on one token? Choose each of them above.",
        [2],
        "Four heads are sharp, on three different tokens, and one is spread. The mean looks like none of them: from a "
        "mean you cannot tell heads that disagree from heads that are spread.",
        {
            (0,): "So it looks in the mean. Choose head 1.3 and see its row.",
            (1,): "There are more. Go through the list of heads to its end.",
            (3,): "One is spread: head 1.4 gives no token more than 0.33.",
        },
        choices=["None", "One", "Four", "All five"],
        at=[3, 0],
    ),
    _question(
        "A place to rest",
        "choice",
        "Nearly all the weight of every row lies on the first “river”. Is it the word that draws it? The word stands "
        "in the list twice.",
        [1],
        "The second “river” gets 0.00 from every row that may look at it. A column that takes nearly everything, "
        "whatever the words are, is called a sink. Its weight does not say that the token matters.",
        {
            (0,): "Then the second “river”, the seventh column, would draw the rows below it. It gets 0.00.",
            (2,): "It can: the last rows may look at the second “river”. How much do they give it?",
        },
        choices=["Yes, “river” matters to them all.", "No, the same word gets nothing where it stands again.",
                 "The map cannot tell."],
        at=[11, 0],
    ),
    _question(
        "Sharp and sure",
        "row",
        "The number behind each word says how sure RNNsearch was of the word that it would have written there. Which "
        "row is sharp, more than 0.7 on one word, though the network was less sure than 0.5?",
        [1],
        "The row of “what” has 0.79 on one word, and the network is sure to 0.33. “the” is the other way round: "
        "sure to 0.80, and its row is spread. The map says where it looked, not how sure it is.",
        {
            (0,): "Sharp it is, and sure too: 0.77.",
            (5,): "The other way round: sure, 0.80, and the row is spread.",
            (7,): "The least sure of all, but the largest weight of its row is 0.45.",
            (-1,): "No word has more than 0.7 of this row.",
        },
    ),
    _question(
        "Alignment",
        "row",
        "The tiny translator has written this French, and all of it is right. A circle marks the word that each French "
        "word translates. Which row has its largest weight elsewhere?",
        [0],
        "“le” translates “the” and gives 0.88 to “cat”: in French the noun decides between le and la. Put a vector "
        "of house there, nothing else, and la has 0.98. A weight is no entry of a dictionary. It says what was read to "
        "write the word.",
        {
            (2,): "0.37 lies on “cat”, and more, 0.44, under the circle.",
            (-1,): "Here the largest weight lies under the circle.",
        },
        circle="the word that it translates",
        at=[3, 3],
    ),
    _question(
        "Vector and word",
        "choice",
        "One noun is exchanged, cat for house, and with it un for une, the fifth French word. In both maps its row "
        "lies on “a”, which has no gender. What made the difference? Choose both maps.",
        [1],
        "At “a” stands a vector that was read from both sides of the sentence, the noun included. Put the one from the "
        "house into the other sentence, nothing else, and une has 0.95. A weight says which vector was read, not which "
        "word was meant.",
        {
            (0,): "The noun has 0.03 of the row in one map and 0.06 in the other: hardly anything was read there.",
            (2,): "It is one word with one embedding. What the row reads is made from more than that.",
        },
        choices=["The weights: the noun has more of them.", "The vector at “a”, which is another one.",
                 "The word “a”, which has two meanings."],
        at=[4, 4],
    ),
]  # fmt: skip
