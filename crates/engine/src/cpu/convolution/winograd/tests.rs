//! Convolutions in Winograd's form.

use super::gradient::WinogradGradient;
use super::packed::Winograd;
use super::stored::WinogradProducts;
use super::tiling::Tiling;
use super::weights::transform;
use crate::cpu::convolution::case::{Case, chosen, each_weight, packed};
use crate::cpu::convolution::dense::stored::Products;
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;
use crate::cpu::value::{Value, assert_near, random, wide};
use crate::cpu::workspaces::Workspaces;
use crate::reference::kernel::{Kernel, View};
use network::graph::{Activation, Conv};

/// Odd sizes, channels that fill no register, a residual, every width of panels; against the reference in f64.
#[test]
fn it_equals_the_plain_convolution() {
    let sizes = [(5, 3, [7, 9]), (33, 70, [12, 5]), (64, 40, [1, 1])];
    let sizes = sizes.into_iter().take(if cfg!(miri) { 1 } else { 3 });
    for (tiling, (channels, out, [height, width])) in
        sizes.flat_map(|size| [(Tiling::Two, size), (Tiling::Four, size)])
    {
        let conv = Conv::same(out, 3).biased();
        let x = Value::among_others([2, channels, height, width], 1);
        let (kernel, bias) = (random(out * channels * 9, 2), random(out, 3));
        let residual = Value::packed([2, out, height, width], 4);
        let (wide_kernel, wide_bias) = (wide(&kernel), wide(&bias));
        let views = [
            x.view(),
            View { data: &wide_kernel[..], shape: &[out, channels, 3, 3] },
            View { data: &wide_bias[..], shape: &[out] },
        ];
        let (expected, _) = Kernel::<3>::forward(&conv, views);

        let winograd = Winograd::new(tiling, &kernel, &bias, channels, Instructions::get());
        let mut workspaces = Workspaces::default();
        let mut result = Value::among_others([2, out, height, width], 5);
        Team::gather(|team| {
            workspaces.reserve(team.threads(), winograd.workspace());
            let residual = Some(residual.source());
            let epilogue = Epilogue { residual, activation: Some(Activation::Relu), add: false };
            winograd.run(team, &workspaces, x.source(), result.target(), epilogue);
        });
        let rectified = |number: f64| number.max(0.0);
        result.assert_holds(&residual.plus(&expected).into_iter().map(rectified).collect::<Vec<_>>());
    }
}

/// Odd sizes, channels that fill no register, panels of every width, more tiles than a block has.
fn winograd_cases() -> impl Iterator<Item = Case> {
    chosen([
        (2, [3, 5], Conv::same(2, 3)),
        (33, [12, 5], Conv::same(70, 3)),
        (16, [1, 1], Conv::same(17, 3)),
        (5, [31, 36], Conv::same(130, 3)),
    ])
}

fn each_tiling() -> impl Iterator<Item = (Case, Tiling)> {
    let tilings = [Tiling::Two, Tiling::Four];
    tilings.into_iter().flat_map(|tiling| winograd_cases().map(move |case| (case, tiling)))
}

/// Forward by the weights of a convolution, back by the same weights turned around.
#[test]
fn winograd_products_equal_the_reference() {
    for (case, tiling) in each_tiling() {
        let forward = Products::forward(&case.conv, case.channels(), false);
        let backward = Products::backward(&case.conv, case.channels());
        let weights = packed(&case, &forward);
        let mut turned = vec![f32::NAN; backward.size()];
        Team::gather(|team| backward.transpose(team, &forward, &weights, &mut turned));
        let [gradient, _] = case.gradients();
        for add in [false, true] {
            let run = |(products, is_turned), weights: [&[f32]; 2], source: &Value, expected: &[f64]| {
                let mut result =
                    Value::among_others(if is_turned { case.x.shape } else { case.gradient.shape }, 8);
                let before = result.clone();
                let winograd =
                    WinogradProducts::new(tiling, source.shape[1], result.shape[1], Instructions::get());
                let mut transformed = vec![f32::NAN; winograd.size()];
                let mut workspaces = Workspaces::default();
                Team::gather(|team| {
                    workspaces.reserve(team.threads(), winograd.workspace());
                    transform(team, (products, tiling), weights[0], &mut transformed, is_turned);
                    let epilogue = Epilogue { add, ..Epilogue::default() };
                    let weights = [&transformed[..], weights[1]];
                    winograd.run(team, &workspaces, weights, source.source(), result.target(), epilogue);
                });
                result.assert_holds(&if add { before.plus(expected) } else { expected.to_vec() });
            };
            run((&forward, false), [&weights, &case.bias], &case.x, &case.result());
            run((&backward, true), [&turned, &[]], &case.gradient, &gradient);
        }
    }
}

#[test]
fn winograd_gradients_of_weights_equal_the_reference() {
    for (case, tiling) in each_tiling() {
        let products = Products::forward(&case.conv, case.channels(), false);
        let own = WinogradGradient::new(&products, tiling);
        let [_, expected] = case.gradients();
        let mut workspace = vec![f32::NAN; own.workspace()];
        let mut gradient = vec![f32::NAN; products.size()];
        // Nothing at first, then twice the same.
        for (add, factor) in [(false, 1.0), (true, 2.0)] {
            let (x, result) = (case.x.source(), case.gradient.source());
            Team::gather(|team| own.run(team, x, result, &mut workspace, (&mut gradient, add)));
            let mut found = vec![0.0; expected.len()];
            each_weight(&case, |index, tap, channel, out| {
                found[index] = gradient[products.position(tap, channel, out)];
            });
            assert_near(&found, &expected.iter().map(|number| factor * number).collect::<Vec<_>>());
        }
    }
}
