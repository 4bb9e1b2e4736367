/** -Σ_t ln softmax(logits_t)[label_t] / valid and its gradient in f64; label -1 is ignored. */
export function crossEntropy(
  rows: number,
  vocabulary: number,
  logits: Float64Array,
  labels: Int32Array,
  inverseValid: number,
): { loss: number; gradient: Float64Array } {
  const gradient = new Float64Array(rows * vocabulary)
  let loss = 0
  for (let t = 0; t < rows; t++) {
    const label = labels[t] as number
    if (label === -1) continue
    const row = logits.subarray(t * vocabulary, (t + 1) * vocabulary)
    const most = row.reduce((a, b) => Math.max(a, b)) // a real vocabulary is more arguments than a call takes
    const sum = row.reduce((total, x) => total + Math.exp(x - most), 0)
    loss += (Math.log(sum) + most - (row[label] as number)) * inverseValid
    row.forEach((x, i) => {
      gradient[t * vocabulary + i] = (Math.exp(x - most) / sum - (i === label ? 1 : 0)) * inverseValid
    })
  }
  return { loss, gradient }
}
