"""x"""


def write(results, into):
    print(len(results))
