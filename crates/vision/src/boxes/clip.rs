//! Boxes cut off at the borders of a picture.

/// A box (left, top, right, bottom) cut off at the borders of a picture of this width and height. What is not a
/// number stays what it is, so that whoever selects boxes can leave it out.
#[inline]
pub fn clipped<T: PartialOrd + Copy + Default>(corners: [T; 4], [width, height]: [T; 2]) -> [T; 4] {
    let [left, top, right, bottom] = corners;
    [within(left, width), within(top, height), within(right, width), within(bottom, height)]
}

fn within<T: PartialOrd + Copy + Default>(value: T, largest: T) -> T {
    let zero = T::default();
    match value {
        value if value < zero => zero,
        value if value > largest => largest,
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_end_at_the_border() {
        assert_eq!(clipped([-3.0, 2.0, 100.0, 99.5], [90.0, 80.0]), [0.0, 2.0, 90.0, 80.0]);
        assert_eq!(clipped([f32::NEG_INFINITY, 0.0, f32::INFINITY, 1.0], [9.0, 9.0]), [0.0, 0.0, 9.0, 1.0]);
        let [left, ..] = clipped([f64::NAN, 0.0, 1.0, 1.0], [9.0, 9.0]);
        assert!(left.is_nan());
    }
}
