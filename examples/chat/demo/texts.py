"""The scripted model's words."""

from __future__ import annotations

__all__: list[str] = []

SENT_SAY = "You sent something along. I read it."
SENT_ANSWER = """\
I have read {names}. My copy is in `uploads`, in this conversation's folder; what you sent is kept as it came.

I am a scripted model, so I have no opinion on it.
"""

LOOK_THOUGHT = (
    "They would like to know what is here. The README should say it; the price list says what is sold, "
    "and the code shows how a sum is made. I can read all three at once."
)
LOOK_SECOND_THOUGHT = (
    "Six things, and one costs far more than the others: a slice of cheesecake for 38 euro. I should say so."
)
LOOK_ANSWER = """\
This is the **till of a small bakery**: a price list, and a few lines of Python that add up what somebody buys.

| Item | Price | Sold by |
|---|---:|---|
| Sourdough loaf | 5.20 € | the piece |
| Baguette | 1.90 € | the piece |
| Rye roll | 0.95 € | the piece |
| Cinnamon bun | 2.60 € | the piece |
| Apple cake | 3.40 € | the slice |
| Cheesecake | 38.00 € | the slice |

Two things that I noticed:

1. A slice of **cheesecake for 38 €** is probably the price of a whole one.
2. The total does not look at how many of a thing somebody takes:

```python
def total(lines):
    return round(sum(line.price for line in lines), 2)  # where is line.count?
```

Shall I mend the second one? There is a test for it in `shop/test_cart.py`.
"""

MEND_THOUGHT = (
    "A wrong total when the count is two: most likely the count is never multiplied. "
    "I read the code and its tests before I touch anything."
)
MEND_FOUND = "There it is: `total` adds the prices and never looks at `count`. One line mends it."
MEND_NOTHING = "Somebody was faster: `total` multiplies by `count` already. I run the tests, to be sure."
MEND_DONE = """\
**Done.** All {count} tests pass.

`total` now multiplies each price by how many there are of it:

```python
return round(sum(line.price * line.count for line in lines), 2)
```

Two cinnamon buns come to 5.20 €, as they should.
"""
MEND_FAILED = """\
The tests do not pass yet. The last that they said:

```text
{output}
```
"""

PLAN_THOUGHT = (
    "They want to be asked first. What matters is the theme, and the days on which there is a special."
)
DAYS = ("Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
SPECIALS = {
    "Autumn fruit": (
        "plum tart with almond crumble",
        "pear and ginger buns",
        "quince turnovers",
        "apple rye loaf",
        "blackberry brioche",
    ),
    "Rye and seeds": (
        "pumpkin seed rye",
        "sesame rolls",
        "caraway crispbread",
        "five-seed baguette",
        "rye and walnut loaf",
    ),
    "Surprise us": (
        "cardamom knots",
        "olive fougasse",
        "lemon and thyme loaf",
        "chocolate rye cookies",
        "saffron buns",
    ),
}
PLAN_QUESTIONS = {
    "questions": [
        {
            "header": "Theme",
            "question": "What should the week be about?",
            "options": [
                {"label": "Autumn fruit", "description": "Plums, pears and quinces are in season"},
                {"label": "Rye and seeds", "description": "Hearty, and good for a week"},
                {"label": "Surprise us", "description": "One of each, and something with saffron"},
            ],
        },
        {
            "header": "Days",
            "question": "On which days is there a special?",
            "multiple": True,
            "options": [
                {"label": day, "description": about}
                for day, about in zip(
                    DAYS,
                    (
                        "A quiet day",
                        "Market day",
                        "A quiet day",
                        "The oven is hot anyway",
                        "The queue is long",
                    ),
                    strict=True,
                )
            ],
        },
    ]
}
PLAN_WRITE = "Lovely. I write it down."
PLAN_DONE = """\
Here is the week, and it is in `specials.md` too:

{specials}

All of them can be made from what is in the larder.
"""

DELEGATE_THOUGHT = (
    "Fresh eyes are better for this. A sub-agent can do it in a session of its own, and report."
)
DELEGATE_SAY = "I ask a colleague to go over them."
DELEGATE_FOUND = """\
My colleague finds **one price that looks odd**: a slice of *cheesecake* for **38.00 €**, where a slice of apple cake \
is 3.40 €. That is most likely the price of a whole cake, or a decimal point that slipped.

The other five are fine. Shall I set it to 3.80 €?
"""
DELEGATE_NOTHING = "My colleague found nothing that looks odd."
CHECKED = """\
One price looks odd: **Cheesecake, 38.00 € a slice**. The other cake by the slice is 3.40 €, so this is eleven times \
as much: the price of a whole cake, or a decimal point that slipped. The other five are in line with one another.
"""

LONG_THOUGHT = (
    "They have time. I go through it from the starter to the crust, and keep to what one can do at home."
)
LONG_STORY = """\
## The starter

Everything begins a day before, with a spoonful of starter that has been asleep in the cold. It is fed with as much \
flour as water, stirred, and left alone where it is warm. After some hours it has doubled, smells of yoghurt and \
apples, and a drop of it floats on water. Then it is awake.

## The dough

| For one loaf | Weight |
|---|---:|
| Strong flour | 450 g |
| Rye flour | 50 g |
| Water | 360 g |
| Starter | 100 g |
| Salt | 10 g |

1. **Mix** flour and water, and let them rest for an hour. Nothing seems to happen; in truth the flour drinks, and \
the gluten arranges itself without any help of yours.
2. **Add** the starter, and after half an hour the salt.
3. **Fold** it every thirty minutes, four times: take an edge, stretch it as far as it goes, lay it over the rest, \
turn the bowl. What was a puddle the first time holds its shape the fourth.

> A dough that is cold takes longer, and is the better for it. Nobody has ever regretted an hour.

## The shape

Tip it onto the table, and be brief. Pull the edges to the middle, turn it over, and drag it towards you until its \
skin is tight. Then it goes into a basket, seam upwards, and into the cold until tomorrow.

## The oven

Heat it as far as it goes, with the pot inside, for three quarters of an hour. Turn the loaf out, cut it once with a \
quick hand, put the lid on. Twenty minutes later take the lid off: it has risen, it is pale and shining. Another \
twenty, and it is the colour of chestnuts.

```text
 0 min   in, lid on        250 °C
20 min   lid off           230 °C
40 min   out, onto a rack
```

Now comes the hardest part. It sings while it cools, quietly, a crackle; and one has to wait until it stops.
"""

OVEN_TROUBLE = "The express oven is heating up. It will be ready the next time that you ask."
OVEN_ANSWER = """\
The express oven is hot now: a **baguette takes 9 minutes** in it, at 260 °C, with a cup of water at the start.

Any longer, and it is a baseball bat.
"""

CONVERSE_THOUGHT = "This is none of my scenes. I say what I am, and what there is to try."
CONVERSE = """\
I am a **scripted model**: I follow a few scenes, so that you can try this chat without a key or a network. \
The server, the tools, the permissions and the files are real.

Ask me to

- *look around* in the folder,
- mend the *bug* in the cart,
- plan the week's *specials*,
- get a *second opinion* on the prices,
- tell you *at length* how bread is made,
- read a *file* that you send along.

With a provider's key in the environment (such as `ANTHROPIC_API_KEY`) a real model answers here instead.
"""
MEMORY = "\nAnd I remember: before this you said “{before}”\n"

REFUSED = "All right, I leave it at that. You said: “{feedback}”. Tell me how you would like it instead."
