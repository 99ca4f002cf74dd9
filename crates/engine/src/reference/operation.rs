//! Kernels as candle operations: candle gives storages, layouts and the tape.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, WithDType,
    bail,
};

use super::kernel::{Kernel, View};
use network::element::Element;

/// Applies a kernel of one input.
pub(super) fn apply1(kernel: impl Kernel<1>, x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Operation(kernel))
}

/// Applies a kernel of two inputs.
pub(super) fn apply2(kernel: impl Kernel<2>, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&y.contiguous()?, Operation(kernel))
}

/// Applies a kernel of three inputs.
pub(super) fn apply3(kernel: impl Kernel<3>, x: &Tensor, y: &Tensor, z: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&y.contiguous()?, &z.contiguous()?, Operation(kernel))
}

struct Operation<K>(K);

impl<K> Operation<K> {
    fn forward<const N: usize>(&self, inputs: [(&CpuStorage, &Layout); N]) -> Result<(CpuStorage, Shape)>
    where
        K: Kernel<N>,
    {
        match inputs.first().map(|(storage, _)| storage) {
            Some(CpuStorage::F32(_)) => self.forward_as::<f32, N>(inputs),
            Some(CpuStorage::F64(_)) => self.forward_as::<f64, N>(inputs),
            _ => bail!("{} computes in f32 and f64 only", K::NAME),
        }
    }

    fn forward_as<T: Element + WithDType, const N: usize>(
        &self,
        inputs: [(&CpuStorage, &Layout); N],
    ) -> Result<(CpuStorage, Shape)>
    where
        K: Kernel<N>,
    {
        let views = inputs.map(|(storage, layout)| view::<T>(storage, layout));
        let (data, shape) = self.0.forward(all(views)?);
        Ok((T::to_cpu_storage_owned(data), Shape::from(shape)))
    }

    fn backward<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]>
    where
        K: Kernel<N>,
    {
        match gradient.dtype() {
            DType::F32 => self.backward_as::<f32, N>(inputs, result, gradient),
            DType::F64 => self.backward_as::<f64, N>(inputs, result, gradient),
            _ => bail!("{} computes in f32 and f64 only", K::NAME),
        }
    }

    fn backward_as<T: Element + WithDType, const N: usize>(
        &self,
        inputs: [&Tensor; N],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]>
    where
        K: Kernel<N>,
    {
        let gradient = gradient.contiguous()?;
        let guards = inputs.map(Tensor::storage_and_layout);
        let views = all(std::array::from_fn(|i| {
            guards
                .get(i)
                .map_or_else(|| bail!("no input {i}"), |(storage, layout)| on_cpu::<T>(storage, layout))
        }))?;
        let (result, result_layout) = result.storage_and_layout();
        let (gradient, gradient_layout) = gradient.storage_and_layout();
        let gradients = self.0.backward(
            views,
            on_cpu(&result, result_layout)?,
            on_cpu(&gradient, gradient_layout)?,
            inputs.map(Tensor::track_op),
        );
        let mut shapes = inputs.iter();
        let tensors = gradients.map(|gradient| {
            let input = shapes.next();
            let tensor = gradient
                .zip(input)
                .map(|(data, input)| Tensor::from_vec(data, input.shape(), input.device()));
            tensor.transpose()
        });
        all(tensors)
    }
}

/// The values, or the first error.
fn all<T, const N: usize>(results: [Result<T>; N]) -> Result<[T; N]> {
    let values = results.into_iter().collect::<Result<Vec<T>>>()?;
    values.try_into().or_else(|_| bail!("wrong number of values"))
}

fn on_cpu<'a, T: WithDType>(storage: &'a Storage, layout: &'a Layout) -> Result<View<'a, T>> {
    match storage {
        Storage::Cpu(storage) => view(storage, layout),
        _ => bail!("the kernels run on the CPU only"),
    }
}

fn view<'a, T: WithDType>(storage: &'a CpuStorage, layout: &'a Layout) -> Result<View<'a, T>> {
    let data = T::cpu_storage_as_slice(storage)?;
    let range = layout.contiguous_offsets().and_then(|(start, end)| data.get(start..end));
    let Some(data) = range else { bail!("a kernel was given a tensor that is not contiguous") };
    Ok(View { data, shape: layout.dims() })
}

impl<K: Kernel<1>> CustomOp1 for Operation<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward([(storage, layout)])
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [x] = self.backward([x], result, gradient)?;
        Ok(x)
    }
}

impl<K: Kernel<2>> CustomOp2 for Operation<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward([(s1, l1), (s2, l2)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [x, y] = self.backward([x, y], result, gradient)?;
        Ok((x, y))
    }
}

impl<K: Kernel<3>> CustomOp3 for Operation<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward([(s1, l1), (s2, l2), (s3, l3)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x, y, z] = self.backward([x, y, z], result, gradient)?;
        Ok((x, y, z))
    }
}
