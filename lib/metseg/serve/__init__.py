"""Two faces of the Predictor: an HTTP service and the dashboard; both read uploads in one way."""
