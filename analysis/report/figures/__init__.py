"""One figure a file: findings in, a drawing out. `style` has the look and turns drawings into bytes."""
