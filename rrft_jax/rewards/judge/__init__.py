"""A language model as the judge of completions: what it is asked, what is read from its reply, and a cache of replies.

Who answers is given from outside, as a function from conversations to replies (`pointwise.Ask`).
"""
