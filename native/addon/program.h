#pragma once
#include <napi.h>

#include "../core/memory.h"
#include "../core/program.h"

namespace fpdt::addon {

// Copies a Program of plan/program.ts out of JavaScript's arrays, so that nothing can change it later. Checks types alone;
// fpdt::validate checks what is in it. Throws Error "argument".
Program read_program(const Napi::Value& value);
// { device?: bytes, host?: bytes, disk?: bytes }, or undefined.
Budgets read_budgets(const Napi::Value& value);

}  // namespace fpdt::addon
