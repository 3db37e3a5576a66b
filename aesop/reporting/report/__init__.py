"""The report: results of several methods as one HTML page."""
