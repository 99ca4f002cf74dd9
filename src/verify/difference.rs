//! How far two arrays are apart.

/// Differences between numbers of this side and of the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Largest absolute difference; infinite where one side is not a number and the other is.
    pub max_abs: f64,
    /// The same, relative to the largest magnitude of the other side.
    pub relative: f64,
    /// Root of the mean squared difference, relative to the largest magnitude of the other side. Less sensitive to
    /// single elements than `relative`, more to a small change everywhere.
    pub rms: f64,
    /// Cosine of the angle between the two, as vectors, without elements that are not finite.
    pub cosine: f64,
    /// Position of the largest difference.
    pub at: usize,
}

impl Difference {
    /// Between things that cannot be compared.
    pub(super) const INFINITE: Difference = Difference {
        max_abs: f64::INFINITY,
        relative: f64::INFINITY,
        rms: f64::INFINITY,
        cosine: 0.0,
        at: 0,
    };

    /// Between two arrays of one length.
    pub fn between(ours: impl IntoIterator<Item = f64>, theirs: impl IntoIterator<Item = f64>) -> Difference {
        let (mut max_abs, mut at, mut largest, mut squares, mut count) = (0.0, 0, 0.0_f64, 0.0, 0.0);
        let (mut product, mut our_norm, mut their_norm) = (0.0, 0.0, 0.0);
        for (index, (a, b)) in ours.into_iter().zip(theirs).enumerate() {
            let apart = distance(a, b);
            if apart > max_abs {
                (max_abs, at) = (apart, index);
            }
            largest = largest.max(b.abs());
            squares += apart * apart;
            count += 1.0;
            if a.is_finite() && b.is_finite() {
                product += a * b;
                our_norm += a * a;
                their_norm += b * b;
            }
        }
        let share = |apart: f64| match apart {
            0.0 => 0.0,
            f64::INFINITY => apart,
            _ => apart / largest,
        };
        let norms = (our_norm * their_norm).sqrt();
        let cosine = if norms > 0.0 { product / norms } else { f64::from(our_norm == their_norm) };
        Difference { max_abs, relative: share(max_abs), rms: share((squares / count).sqrt()), cosine, at }
    }
}

/// Equal infinities and two NaN are no difference; one of them alone is an infinite one.
fn distance(a: f64, b: f64) -> f64 {
    let apart = (a - b).abs();
    match apart.is_nan() {
        false => apart,
        true if a == b || (a.is_nan() && b.is_nan()) => 0.0,
        true => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_relative_to_the_largest_magnitude() {
        let difference = Difference::between([1.0, 2.0, -4.0], [1.0, 2.5, -5.0]);
        assert_eq!((difference.max_abs, difference.relative, difference.at), (1.0, 0.2, 2));
        assert!((difference.cosine - 26.0 / (21.0_f64 * 32.25).sqrt()).abs() < 1e-12);
        let equal = Difference::between([0.0; 2], [0.0; 2]);
        assert_eq!((equal.max_abs, equal.relative, equal.cosine), (0.0, 0.0, 1.0));
    }

    #[test]
    fn what_is_no_number_differs_from_every_number() {
        assert_eq!(Difference::between([f64::NAN], [1.0]).max_abs, f64::INFINITY);
        assert_eq!(Difference::between([f64::NAN], [f64::NAN]).max_abs, 0.0);
        assert_eq!(Difference::between([f64::INFINITY], [f64::INFINITY]).max_abs, 0.0);
        assert_eq!(
            Difference::between([f64::INFINITY], [f64::NEG_INFINITY]).relative,
            f64::NAN.max(f64::INFINITY)
        );
    }
}
