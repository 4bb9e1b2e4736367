/** RMSNorm (arXiv 1910.07467) and LayerNorm (arXiv 1607.06450) in f64. `magnitude` is the sum of absolute terms: what rounding errors are proportional to. */
export interface Norm {
  readonly rows: number
  readonly width: number
  readonly eps: number
}

export function norm({ rows, width, eps }: Norm, x: Float64Array, weight: Float64Array): Float64Array {
  const out = new Float64Array(rows * width)
  for (let t = 0; t < rows; t++) {
    const row = x.subarray(t * width, (t + 1) * width)
    const rms = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / width + eps)
    row.forEach((v, i) => {
      out[t * width + i] = (v / rms) * (weight[i] as number)
    })
  }
  return out
}

/** Σ_i dout_i (∂out_i / ∂x_k) and Σ_t dout x / rms, term by term. */
export function normBackward({ rows, width, eps }: Norm, dout: Float64Array, x: Float64Array, weight: Float64Array) {
  const dx = new Float64Array(rows * width)
  const dxMagnitude = new Float64Array(rows * width)
  const dweight = new Float64Array(width)
  const dweightMagnitude = new Float64Array(width)
  for (let t = 0; t < rows; t++) {
    const at = t * width
    let squares = 0
    for (let i = 0; i < width; i++) squares += (x[at + i] as number) ** 2
    const rms = Math.sqrt(squares / width + eps)
    let along = 0
    let alongMagnitude = 0
    for (let i = 0; i < width; i++) {
      const term = (dout[at + i] as number) * (weight[i] as number) * (x[at + i] as number)
      along += term
      alongMagnitude += Math.abs(term)
      dweight[i] += ((dout[at + i] as number) * (x[at + i] as number)) / rms
      dweightMagnitude[i] += Math.abs(((dout[at + i] as number) * (x[at + i] as number)) / rms)
    }
    for (let k = 0; k < width; k++) {
      const direct = ((dout[at + k] as number) * (weight[k] as number)) / rms
      dx[at + k] = direct - ((x[at + k] as number) * along) / (width * rms ** 3)
      dxMagnitude[at + k] = Math.abs(direct) + (Math.abs(x[at + k] as number) * alongMagnitude) / (width * rms ** 3)
    }
  }
  return { dx, dxMagnitude, dweight, dweightMagnitude }
}

/** Rows minus their mean, divided by their standard deviation; and 1 / that deviation, of each row. */
export function standardised({ rows, width, eps }: Norm, x: Float64Array): { values: Float64Array; inverse: Float64Array } {
  const values = new Float64Array(rows * width)
  const inverse = new Float64Array(rows)
  for (let t = 0; t < rows; t++) {
    const row = x.subarray(t * width, (t + 1) * width)
    const mean = row.reduce((sum, v) => sum + v, 0) / width
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / width
    inverse[t] = 1 / Math.sqrt(variance + eps)
    values.set(
      row.map((v) => (v - mean) * (inverse[t] as number)),
      t * width,
    )
  }
  return { values, inverse }
}

export function layerNorm(sizes: Norm, x: Float64Array, weight: Float64Array, bias: Float64Array): Float64Array {
  return standardised(sizes, x).values.map((v, i) => v * (weight[i % sizes.width] as number) + (bias[i % sizes.width] as number))
}

/** dx_k = Σ_i dout_i w_i ∂n_i/∂x_k with the whole Jacobian ∂n_i/∂x_k = (δ_ik - 1/width - n_i n_k / width) / σ, term by term. */
export function layerNormBackward(sizes: Norm, dout: Float64Array, x: Float64Array, weight: Float64Array) {
  const { rows, width } = sizes
  const { values: n, inverse } = standardised(sizes, x)
  const [dx, dxMagnitude] = [new Float64Array(rows * width), new Float64Array(rows * width)]
  const [dweight, dweightMagnitude, dbias, dbiasMagnitude] = [0, 1, 2, 3].map(() => new Float64Array(width)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  for (let t = 0; t < rows; t++) {
    const at = t * width
    for (let i = 0; i < width; i++) {
      const d = dout[at + i] as number
      const g = d * (weight[i] as number) * (inverse[t] as number)
      dweight[i] += d * (n[at + i] as number)
      dweightMagnitude[i] += Math.abs(d * (n[at + i] as number))
      dbias[i] += d
      dbiasMagnitude[i] += Math.abs(d)
      for (let k = 0; k < width; k++) {
        const along = ((n[at + i] as number) * (n[at + k] as number)) / width
        dx[at + k] += g * ((i === k ? 1 : 0) - 1 / width - along)
        dxMagnitude[at + k] += Math.abs(g) * ((i === k ? 1 : 0) + 1 / width + Math.abs(along))
      }
    }
  }
  return { dx, dxMagnitude, dweight, dweightMagnitude, dbias, dbiasMagnitude }
}
