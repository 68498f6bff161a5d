"""The report: one page, without network access: scores, curves, and alignments word by word."""

from nmt.analysis.report.page import ReportHeader, ReportSentences, write_page
from nmt.analysis.report.sentences import Selection

__all__ = ["ReportHeader", "ReportSentences", "Selection", "write_page"]
