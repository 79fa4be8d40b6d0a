"""Models to compare with and to fall back to: floors, classical equations, statistical models and trees. Free of Spark but for
the training of trees."""
