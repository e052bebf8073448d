"""The lesion report: RANO-BM, follow-up, pictures, and the files."""
