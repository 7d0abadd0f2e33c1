"""What a run leaves behind: weights, predictions, scores, TensorBoard files, and the challenge's submission."""
