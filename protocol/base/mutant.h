// Mutants: deliberately broken variants of the broker, one named condition each. They exist only in
// a build of their own (WAYBILL_MUTANTS), in which the simulator must catch every one of them
// (tests/sim/run --mutants); everywhere else a mutant is `false` and costs nothing. Only for .cc
// files: a header would be compiled both ways into one program.
#pragma once

#ifdef WAYBILL_MUTANTS
#include <string>
#endif
#include <string_view>

namespace waybill {

#ifdef WAYBILL_MUTANTS
/// The one that lives in this process; none if empty.
inline std::string& chosen_mutant() {
  static std::string name;
  return name;
}
inline bool mutant(std::string_view name) {
  return name == chosen_mutant();
}
#else
constexpr bool mutant(std::string_view /*name*/) {
  return false;
}
#endif

}  // namespace waybill
