"""One step of the two optimizers, written out as their papers have it."""

import numpy as np


def adam_steps(start, gradients, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    """Kingma and Ba (2015), algorithm 1."""
    x, m, v = np.array(start, float), 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        x = x - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return x


def nesterov_steps(start, gradients, rate, momentum=0.9):
    """Nesterov momentum as Lasagne has it: velocity = m v - rate g; x += m velocity - rate g."""
    x, velocity = np.array(start, float), 0.0
    for g in gradients:
        velocity = momentum * velocity - rate * g
        x = x + momentum * velocity - rate * g
    return x


def cross_entropy(logits, labels):
    """Mean of -log softmax of the true class."""
    shifted = logits - logits.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]))
