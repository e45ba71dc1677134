// What a request is answered with: a value, or a code and a sentence for the person who has to act.
#pragma once

#include <string>
#include <utility>

#include "protocol/base/result.h"

namespace waybill {

/// An error as the other side sees it. `explanation` says what, why and what to do next; it is for
/// people, programs decide by the code. Text in it that came from users is as they wrote it:
/// whoever shows it escapes it.
struct RequestError {
  Errc code;
  std::string explanation;

  RequestError(Errc error_code, std::string text)
      : code(error_code), explanation(std::move(text)) {}
  RequestError(const Error& error) : code(error.code), explanation(to_string(error)) {}
};

inline bool operator==(const RequestError& error, Errc code) {
  return error.code == code;
}
inline std::string to_string(const RequestError& error) {
  std::string text(name(error.code));
  if (!error.explanation.empty()) text += ": " + error.explanation;
  return text;
}

template <class T>
using Reply = Result<T, RequestError>;

}  // namespace waybill
