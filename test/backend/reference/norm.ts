/** RMSNorm (arXiv 1910.07467) in f64. `magnitude` is the sum of absolute terms: what rounding errors are proportional to. */
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
