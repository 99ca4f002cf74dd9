//! Matrix products.

use gemm::Parallelism;

use network::element::Element;

/// A matrix in a slice, its element (i, j) at `i * rows_apart + j * columns_apart`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    rows_apart: usize,
    columns_apart: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// The first `rows * columns` numbers, row by row.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize) -> Matrix<'a, T> {
        Matrix { data, rows, columns, rows_apart: columns, columns_apart: 1 }
    }

    /// Rows for columns.
    pub(crate) fn transposed(self) -> Matrix<'a, T> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            rows_apart: self.columns_apart,
            columns_apart: self.rows_apart,
            ..self
        }
    }

    fn fits(&self) -> bool {
        self.rows.saturating_mul(self.columns) <= self.data.len()
    }
}

/// `result = left * right`, or `result += left * right`, row by row, on all threads of the current pool.
#[allow(unsafe_code)] // gemm takes pointers
pub(crate) fn multiply<T: Element>(result: &mut [T], left: Matrix<'_, T>, right: Matrix<'_, T>, add: bool) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    let fits =
        left.fits() && right.fits() && inner == right.rows && rows.saturating_mul(columns) <= result.len();
    assert!(fits, "matrices {rows}x{inner} and {}x{columns} do not fit their slices", right.rows);
    // SAFETY: every (row, column) of each matrix lies in its slice, checked above; `result` is borrowed mutably
    // and so overlaps neither of the others; T is f32 or f64, which gemm knows.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            result.as_mut_ptr(),
            1,
            columns as isize,
            add,
            left.data.as_ptr(),
            left.columns_apart as isize,
            left.rows_apart as isize,
            right.data.as_ptr(),
            right.columns_apart as isize,
            right.rows_apart as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_orders_equal_the_sum_of_products() {
        let left: Vec<f64> = (0..6).map(f64::from).collect();
        let right: Vec<f64> = (0..12).map(|i| f64::from(i) - 5.0).collect();
        let mut result = vec![1.0; 8];
        multiply(&mut result, Matrix::new(&left, 2, 3), Matrix::new(&right, 3, 4), true);
        let at = |i: usize, j: usize| 1.0 + (0..3).map(|k| left[3 * i + k] * right[4 * k + j]).sum::<f64>();
        let expected: Vec<f64> = (0..8).map(|index| at(index / 4, index % 4)).collect();
        assert_eq!(result, expected);
        let mut transposed = vec![0.0; 8];
        let (left, right) = (Matrix::new(&left, 2, 3), Matrix::new(&right, 3, 4));
        multiply(&mut transposed, right.transposed(), left.transposed(), false);
        let at = |index: usize| expected[4 * (index % 2) + index / 2] - 1.0;
        assert_eq!(transposed, (0..8).map(at).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn matrices_larger_than_their_slices_are_refused() {
        multiply(&mut [0.0], Matrix::new(&[1.0], 1, 2), Matrix::new(&[1.0; 2], 2, 1), false);
    }
}
