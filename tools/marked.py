"""Puts text between two marks of a page, such as a table between <!-- results --> and <!-- end -->."""


def put(path, text, begin="<!-- results -->", end="<!-- end -->"):
    """Everything between the lines `begin` and `end`, which stay, becomes `text`, which ends with a newline."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    head, rest = page.split(begin + "\n", 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + begin + "\n" + text + end + "\n" + rest.split(end + "\n", 1)[1])
