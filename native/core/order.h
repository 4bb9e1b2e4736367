// No bytes are written by one entry while another, or another operand of the same one, uses them.
//
// So what a kernel has checked stays as it was while it works: token ids, labels, and what it keeps in its workspace
// (counters that threads wait on, addresses that oneDNN lays there). The same walk as kernel/src/plan/waits.ts makes to find
// waits; here it trusts nobody's and only says whether they suffice.
#pragma once
#include "program.h"

namespace fpdt {

// Refuses entries whose order the waits do not settle, and written operands that overlap others of their entry: throws Error
// "program" with both. The program must be sound otherwise: rows, streams, waits backwards, operands inside their arenas.
void check_order(const Program& program);

}  // namespace fpdt
