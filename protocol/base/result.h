// Result<T, E>: a value or an error, handled or returned, never dropped.
//
// Own class rather than std::expected because public headers compile as C++20, std::expected is not
// [[nodiscard]], and clang 14 cannot read libstdc++'s. The usual shape:
//
//   Result<Frame> frame = parse(bytes);
//   if (!frame) return frame.error();
//   use(*frame);
#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "protocol/base/assert.h"
#include "protocol/base/error.h"

namespace waybill {

template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}
  Result(Errc code, const char* where)
    requires std::is_same_v<E, Error>
      : state_(std::in_place_index<1>, Error{code, 0, where}) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  /// Requires ok().
  T& value() & {
    WB_ASSERT(ok(), "value() of a failed Result");
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    WB_ASSERT(ok(), "value() of a failed Result");
    return *std::get_if<0>(&state_);
  }
  T&& value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  /// Requires !ok().
  const E& error() const {
    WB_ASSERT(!ok(), "error() of a successful Result");
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() = default;
  Result(E error) : error_(std::move(error)) {}
  Result(Errc code, const char* where)
    requires std::is_same_v<E, Error>
      : error_(Error{code, 0, where}) {}

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const { WB_ASSERT(ok(), "value() of a failed Result"); }

  const E& error() const {
    WB_ASSERT(!ok(), "error() of a successful Result");
    return *error_;
  }

 private:
  std::optional<E> error_;
};

/// The only way to drop a Result: the reason is for the reader, and can be searched for.
template <class T, class E>
void ignore_error(const Result<T, E>&, const char* /*reason*/) {}

}  // namespace waybill
