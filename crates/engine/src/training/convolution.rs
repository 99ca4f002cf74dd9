//! Dense convolutions with weights that change, by the kernels that are fastest for their shapes.

use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::aligned::Aligned;
use crate::kernels::channels_last::dense::Epilogue;
use crate::kernels::channels_last::products::{Products, Source};
use crate::kernels::channels_last::team::Team;
use crate::kernels::channels_last::winograd::{Tiling, WinogradProducts, pays};
use crate::kernels::channels_last::winograd_gradient::WinogradGradient;
use crate::kernels::channels_last::winograd_weights::transform;
use crate::kernels::channels_last::workspaces::Workspaces;
use network::graph::Conv;

/// A convolution, or the gradient of one's input.
#[derive(Debug)]
pub(super) struct Convolution {
    pub(super) products: Products,
    /// Winograd's form, where it pays.
    winograd: Option<WinogradProducts>,
    /// Whether it is the gradient of an input.
    is_backward: bool,
}

/// Memory in which convolutions work, one after another.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Weights in the order in which the gradient of an input wants them.
    transposed: Aligned,
    /// Weights in Winograd's form.
    transformed: Aligned,
    /// For the gradients of weights in Winograd's form.
    tiles: Aligned,
    workspaces: Workspaces,
    /// Floats of a workspace.
    workspace: usize,
}

/// Floats of each part of a [`Scratch`].
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ScratchSize {
    transposed: usize,
    transformed: usize,
    tiles: usize,
    workspace: usize,
}

impl ScratchSize {
    /// What is enough for both.
    pub(super) fn union(self, other: ScratchSize) -> ScratchSize {
        ScratchSize {
            transposed: self.transposed.max(other.transposed),
            transformed: self.transformed.max(other.transformed),
            tiles: self.tiles.max(other.tiles),
            workspace: self.workspace.max(other.workspace),
        }
    }
}

impl Scratch {
    pub(super) fn new(size: ScratchSize) -> Scratch {
        let ScratchSize { transposed, transformed, tiles, workspace } = size;
        let [transposed, transformed, tiles] = [transposed, transformed, tiles].map(Aligned::zeros);
        Scratch { transposed, transformed, tiles, workspaces: Workspaces::default(), workspace }
    }

    /// Makes sure that each thread of a team has room to work in.
    pub(super) fn reserve(&mut self, team: &Team) {
        self.workspaces.reserve(team.threads(), self.workspace);
    }
}

impl Convolution {
    /// A convolution of `channels` at pictures of this size; see [`Products::forward`].
    pub(super) fn forward(conv: &Conv, channels: usize, size: [usize; 2], is_bordered: bool) -> Convolution {
        let products = Products::forward(conv, channels, is_bordered);
        Convolution::new(products, conv, [channels, conv.out], size, false)
    }

    /// The gradient of a convolution's input, of `channels` and this size.
    pub(super) fn backward(conv: &Conv, channels: usize, size: [usize; 2]) -> Convolution {
        Convolution::new(Products::backward(conv, channels), conv, [conv.out, channels], size, true)
    }

    fn new(
        products: Products,
        conv: &Conv,
        [from, to]: [usize; 2],
        size: [usize; 2],
        is_backward: bool,
    ) -> Convolution {
        let instructions = products.instructions();
        let tiling = Tiling::of(size, 9 * from * to);
        let winograd = || WinogradProducts::new(tiling, from, to, instructions);
        Convolution { winograd: pays(conv, from).then(winograd), products, is_backward }
    }

    /// What it needs to work in.
    pub(super) fn scratch(&self) -> ScratchSize {
        let is_forward = !self.is_backward;
        ScratchSize {
            transposed: if is_forward { 0 } else { self.products.size() },
            transformed: self.winograd.as_ref().map_or(0, WinogradProducts::size),
            tiles: self.winograd_gradient().filter(|_| is_forward).map_or(0, |own| own.workspace()),
            workspace: self.winograd.as_ref().map_or(0, WinogradProducts::workspace),
        }
    }

    /// Writes the result, or adds it to what is there.
    pub(super) fn run(
        &self,
        team: &Team,
        scratch: &mut Scratch,
        weights: [&[f32]; 2],
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        add: bool,
    ) {
        let Scratch { transformed, workspaces, .. } = scratch;
        self.run_in(team, (transformed, workspaces), weights, source, target, add);
    }

    /// The same with the weights of `forward`, which this is the gradient of.
    pub(super) fn run_back(
        &self,
        team: &Team,
        scratch: &mut Scratch,
        (forward, weights): (&Convolution, &[f32]),
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        add: bool,
    ) {
        let Scratch { transposed, transformed, workspaces, .. } = scratch;
        self.products.transpose(team, &forward.products, weights, transposed.floats_mut());
        let weights = transposed.floats().get(..self.products.size()).unwrap_or_default();
        self.run_in(team, (transformed, workspaces), [weights, &[]], source, target, add);
    }

    fn run_in(
        &self,
        team: &Team,
        (transformed, workspaces): (&mut Aligned, &Workspaces),
        [weights, bias]: [&[f32]; 2],
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        add: bool,
    ) {
        let Some(winograd) = &self.winograd else {
            return self.products.run(team, [weights, bias], source, target, add);
        };
        let transformed = transformed.floats_mut().get_mut(..winograd.size()).unwrap_or_default();
        transform(team, (&self.products, winograd.tiling()), weights, transformed, self.is_backward);
        let epilogue = Epilogue { add, ..Epilogue::default() };
        winograd.run(team, workspaces, [transformed, bias], source, target, epilogue);
    }

    fn winograd_gradient(&self) -> Option<WinogradGradient<'_>> {
        let tiling = self.winograd.as_ref()?.tiling();
        Some(WinogradGradient::new(&self.products, tiling))
    }

    /// Writes the gradient of the weights, or adds it to what is there, from the input and the gradient of the result.
    pub(super) fn weight_gradient(
        &self,
        team: &Team,
        scratch: &mut Scratch,
        x: Source<'_>,
        result: Source<'_>,
        (gradient, add): (&mut [f32], bool),
    ) {
        match self.winograd_gradient() {
            Some(own) => own.run(team, x, result, scratch.tiles.floats_mut(), (gradient, add)),
            None => self.products.weight_gradient(team, x, result, gradient, add),
        }
    }
}
