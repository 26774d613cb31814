"""A stand-in for the frozen model of a run."""


class Lent:
    """A base whose replies a function of the chat gives. asked: chats of each call."""

    def __init__(self, reply):
        self.reply, self.asked = reply, []

    def check(self, adapter=""):
        del adapter

    def identity(self, adapter=""):
        return f"lent {adapter}"

    def replies(self, chats, max_tokens, adapter="", rows=8, tell=lambda number, reply: None):
        self.asked.append(list(chats))
        replies = [self.reply(chat) for chat in chats]
        for number, reply in enumerate(replies):
            tell(number, reply)
        return replies
