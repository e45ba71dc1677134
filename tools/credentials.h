// Who asks, for a broker that has users: a user's name and their token. A token comes from the
// environment or from a file, never from the command line, which every user of the machine sees.
#pragma once

#include <string>

#include "tools/problem.h"

namespace waybill::cli {

struct Credentials {
  std::string user;   ///< empty: nobody in particular
  std::string token;  ///< empty: none
};

/// The token is what stands in the first line of `token_file`, or else `token`, of the environment.
Checked<Credentials> find_credentials(std::string user, const std::string& token_file,
                                      std::string token);

}  // namespace waybill::cli
