//! Means to numpy's last bit.

/// The mean of the values above -1, which stands for nothing to measure; -1 where there are none.
pub(super) fn mean(mut values: Vec<f64>) -> f64 {
    values.retain(|value| *value > -1.0);
    if values.is_empty() {
        return -1.0;
    }
    sum(&values) / values.len() as f64
}

/// Up to so many values numpy adds eight by eight, more of them by halves (`pairwise_sum` in its loops).
const BLOCK: usize = 128;

/// The sum in the order in which numpy adds contiguous doubles.
fn sum(values: &[f64]) -> f64 {
    if values.len() < 8 {
        // numpy starts at -0 so that an empty sum of -0 keeps its sign.
        return values.iter().fold(-0.0, |sum, value| sum + value);
    }
    if values.len() > BLOCK {
        let half = values.len() / 2;
        let (front, back) = values.split_at(half - half % 8);
        return sum(front) + sum(back);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (index, eight) in eights.iter().enumerate() {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum = if index == 0 { *value } else { *sum + value };
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let total = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(total, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_does_not_count() {
        assert_eq!(mean(vec![-1.0, 0.5, 1.0]), 0.75);
        assert_eq!(mean(vec![-1.0]), -1.0);
        assert_eq!(mean(vec![0.5; 1000]), 0.5);
    }
}
