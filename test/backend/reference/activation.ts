/** SwiGLU (arXiv 2002.05202) of one gate and one up, in f64. */
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

export function swiglu(gate: number, up: number): number {
  return gate * sigmoid(gate) * up
}
export function swigluBackward(dout: number, gate: number, up: number): { dgate: number; dup: number } {
  const s = sigmoid(gate)
  return { dgate: dout * up * (s + gate * s * sigmoid(-gate)), dup: dout * gate * s }
}
