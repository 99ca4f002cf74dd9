//! Maps as lists of points.

use crate::graph::{Scope, Value};

/// `[N, C, H, W]` to `[N, C, H * W]`.
pub fn flatten(net: &mut Scope<'_>, x: Value) -> Value {
    let points = net.size(x).iter().product();
    let shape: Vec<usize> = net.shape(x).iter().take(2).copied().chain([points]).collect();
    net.reshape(x, &shape)
}

/// Levels `[N, C, points]` after one another, as `[N, points, C]`.
pub fn points_first(net: &mut Scope<'_>, levels: &[Value]) -> Value {
    let all = net.concat_along(2, levels);
    net.transpose(all, &[0, 2, 1])
}
