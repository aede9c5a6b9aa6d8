"""Why is this pupil not in my class? What the newest sync found and what is published, told in words.

`findings` reads both stores, `known` is what was read, `causes` finds what speaks against somebody or
something being published, `sentences` has the words of each reason, `explanation` makes the story and
`stories` its shape. How a story looks in a terminal is in `cli.explain`. Nothing is decided here.
"""
