"""What would sell if prices, promotions, events or stock were otherwise: a plan, and the forecasts that follow from it."""
