"""Networks and patients they have not seen: scores, comparisons, errors."""
