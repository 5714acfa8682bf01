"""Mathematical answers: find them in a text, tell which are the same, and judge them against the gold answer."""

from timetrial_plugins.grading.extract import extract_answer
from timetrial_plugins.grading.key import key
from timetrial_plugins.grading.policy import Policy
from timetrial_plugins.grading.verdict import Grader, answer_class, cluster, grade

__all__ = ["Grader", "Policy", "answer_class", "cluster", "extract_answer", "grade", "key"]
