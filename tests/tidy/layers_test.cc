// Goal: dependencies point one way, and each third-party library has its home (tools/STYLE.md).
// Method: every #include of the tree against two tables; planted violations against the same
// functions. Headers of the client are followed through everything that they include.
#include <set>

#include "tests/tidy/source_tree.h"

namespace waybill::tidy {
namespace {

struct Layer {
  std::string_view folder;  ///< of the files right in it; a new folder gets a line
  std::string_view sees;    ///< what they may include, besides each other
};

constexpr Layer kLayers[] = {
    {"protocol/base", ""},
    {"protocol/model", "protocol/base"},
    {"protocol/record", "protocol/base"},
    {"protocol/wire", "protocol/base protocol/model protocol/record"},
    {"protocol/async", "protocol/base"},
    {"storage/io", "protocol/base"},
    {"storage", "protocol/base protocol/record storage/io"},
    {"broker/core", "protocol/base protocol/model protocol/record storage storage/io"},
    {"broker/server",
     "protocol/base protocol/model protocol/record protocol/wire protocol/async storage storage/io "
     "broker/core"},
    {"client", "protocol/base protocol/model protocol/record protocol/wire protocol/async"},
    {"client/outbox",
     "protocol/base protocol/model protocol/record protocol/wire protocol/async client"},
    {"client/examples", "protocol/base protocol/model client client/outbox"},
    {"tools",
     "protocol/base protocol/model protocol/record protocol/wire protocol/async storage "
     "broker/core "
     "client client/outbox"},
};

struct Home {
  std::string_view header;  ///< beginning of the included name
  std::string_view homes;   ///< who may include it, besides tests and bench
};

/// Heavy or replaceable libraries: few files see them, so few files change or compile with them.
constexpr Home kHomes[] = {
    {"liburing.h", "storage/io/"},
    {"xxhash.h", "protocol/base/"},
    {"isa-l", "protocol/base/"},
    {"zstd", "protocol/record/"},
    {"lz4", "protocol/record/"},
    {"snappy", "protocol/record/"},
    {"zlib.h", "protocol/record/"},
    {"google/protobuf/", "protocol/wire/"},
    {"waybill.pb.h", "protocol/wire/"},
    {"boost/asio", "protocol/async/ broker/server/ client/ tools/"},
    {"boost/beast", "broker/server/http.cc"},
    {"boost/json", "tools/"},
    {"CLI/", "broker/server/main.cc tools/command_line tools/command_options.h"},
    {"tools/command_options.h", "tools/command_line"},
    {"spdlog/", "broker/server/log.cc"},
    {"fmt/", "broker/server/ tools/"},
    {"openssl/", "broker/server/users.cc tools/token_command.cc"},
    {"sqlite3.h", "client/outbox/ client/examples/ tools/"},
    {"jq.h", "tools/jq_rule.cc"},
    {"jv.h", "tools/jq_rule.cc"},
};
/// These stay out of every header, wherever they are used.
constexpr std::string_view kOnlyInSources =
    "google/protobuf/ waybill.pb.h boost/beast boost/json spdlog/ liburing.h xxhash.h isa-l "
    "sqlite3.h jq.h jv.h";
/// An application that includes the client must not need these.
constexpr std::string_view kNotInClientHeaders =
    "google/protobuf/ waybill.pb.h fmt/ spdlog/ boost/json boost/beast CLI/ sqlite3.h";

const Layer* layer_of(std::string_view folder) {
  const Layer* found = std::ranges::find(kLayers, folder, &Layer::folder);
  return found == std::end(kLayers) ? nullptr : found;
}

bool sees(const Layer& layer, std::string_view folder) {
  std::vector<std::string_view> allowed = words_of(layer.sees);
  return std::ranges::find(allowed, folder) != allowed.end();
}

struct Include {
  std::string name;
  std::size_t line = 0;
};

std::vector<Include> includes(const SourceFile& file) {
  std::vector<Include> all;
  std::size_t number = 0;
  for (const std::string& line : file.lines()) {
    ++number;
    if (!line.starts_with("#include ") || line.size() < 11) continue;
    std::size_t end = line.find_first_of("\">", 10);
    all.push_back({line.substr(10, end - 10), number});
  }
  return all;
}

bool is_ours(const std::string& included) {
  return below(included, "protocol/ storage/ broker/ client/ tools/ tests/ bench/");
}

bool is_free(const SourceFile& file) {
  return below(file.path, "tests/ bench/");
}

Findings check_layers(const SourceFile& file) {
  if (!file.is_cpp() || file.path.starts_with("tests/")) return {};
  Findings found;
  const Layer* layer = layer_of(file.folder());
  if (layer == nullptr && !is_free(file))
    return {{file.path, 1, "no layer for this folder; add a line to kLayers in layers_test.cc"}};
  for (const auto& [name, line] : includes(file)) {
    if (!is_ours(name)) continue;
    std::string target = folder_of(name);
    if (target.starts_with("tests")) {
      found.push_back({file.path, line, "includes " + name + "; only tests include tests"});
    } else if (!is_free(file) && target != file.folder() && !sees(*layer, target)) {
      found.push_back({file.path, line,
                       "includes " + name + ", but " + file.folder() + " may not see " + target +
                           "; move what is shared down, or call through a seam"});
    }
  }
  return found;
}

Findings check_homes(const SourceFile& file) {
  if (!file.is_cpp()) return {};
  Findings found;
  for (const auto& [name, line] : includes(file)) {
    for (const Home& home : kHomes) {
      if (!name.starts_with(home.header) || is_free(file) || below(file.path, home.homes)) continue;
      found.push_back({file.path, line,
                       "includes " + name + ", whose home is " + std::string(home.homes) +
                           "; use what is offered there"});
    }
    if (file.is_header() && !is_free(file) && below(name, kOnlyInSources)) {
      found.push_back({file.path, line,
                       "a header includes " + name +
                           "; include it in the .cc and declare what the "
                           "header needs"});
    }
  }
  return found;
}

/// Every include that is ours names a file from the root of the project.
Findings check_existence(const SourceFile& file) {
  Findings found;
  for (const auto& [name, line] : includes(file)) {
    if (is_ours(name) && SourceTree::instance().find(name) == nullptr)
      found.push_back({file.path, line, "includes " + name + ", which is not there"});
  }
  return found;
}

/// What a client header brings along, followed through our own headers.
void follow(const SourceFile& header, const SourceFile& from, std::set<std::string>& seen,
            Findings& found) {
  for (const auto& [name, line] : includes(from)) {
    if (below(name, kNotInClientHeaders)) {
      found.push_back({header.path, 1,
                       "brings " + name + " to applications, by " + from.path + ":" +
                           std::to_string(line) + "; hide it behind a .cc"});
    }
    const SourceFile* next = is_ours(name) ? SourceTree::instance().find(name) : nullptr;
    if (next != nullptr && seen.insert(name).second) follow(header, *next, seen, found);
  }
}

Findings check_client_header(const SourceFile& file) {
  if (!file.is_header() || !file.path.starts_with("client/")) return {};
  Findings found;
  std::set<std::string> seen;
  follow(file, file, seen, found);
  return found;
}

TEST(Layers, IncludesPointOneWay) {
  expect_none(SourceTree::instance().check(check_layers));
}

TEST(Layers, EveryThirdPartyHeaderStaysAtHome) {
  expect_none(SourceTree::instance().check(check_homes));
}

TEST(Layers, EveryIncludedFileIsThere) {
  expect_none(SourceTree::instance().check(check_existence));
}

TEST(Layers, ClientHeadersBringNoHeavyLibraries) {
  expect_none(SourceTree::instance().check(check_client_header));
}

TEST(Layers, TheTableHasNoCyclesAndNoDeadLines) {
  for (const Layer& layer : kLayers) {
    EXPECT_TRUE(SourceTree::instance().has_folder(std::string(layer.folder))) << layer.folder;
    for (std::string_view target : words_of(layer.sees)) {
      // Each line sees only lines above it, so there can be no cycle.
      const Layer* seen = layer_of(target);
      ASSERT_NE(seen, nullptr) << target << " has no line";
      EXPECT_LT(seen, &layer) << layer.folder << " stands above " << target;
    }
  }
}

TEST(Layers, PlantedViolationsAreFound) {
  auto layers = [](std::string path, std::string text) {
    return check_layers(planted(std::move(path), std::move(text))).size();
  };
  EXPECT_EQ(layers("storage/a.h", "#include \"protocol/wire/frame.h\"\n"), 1U);
  EXPECT_EQ(layers("client/a.cc", "#include \"storage/entry.h\"\n"), 1U);
  EXPECT_EQ(layers("client/a.cc", "#include \"client/outbox/relay.h\"\n"), 1U);
  EXPECT_EQ(layers("tools/a.cc", "#include \"tests/support/broker_process.h\"\n"), 1U);
  EXPECT_EQ(layers("bench/a.cc", "#include \"tests/support/broker_process.h\"\n"), 1U);
  EXPECT_EQ(layers("broker/new_folder/a.cc", ""), 1U);
  EXPECT_EQ(layers("broker/core/a.cc", "#include \"storage/entry.h\"\n"), 0U);
  auto homes = [](std::string path, std::string text) {
    return check_homes(planted(std::move(path), std::move(text))).size();
  };
  EXPECT_EQ(homes("broker/core/a.cc", "\n#include <boost/asio/post.hpp>\n"), 1U);
  EXPECT_EQ(homes("storage/a.cc", "#include <liburing.h>\n"), 1U);
  EXPECT_EQ(homes("protocol/wire/a.h", "#include \"waybill.pb.h\"\n"), 1U);
  EXPECT_EQ(homes("protocol/wire/a.cc", "#include \"waybill.pb.h\"\n"), 0U);
  EXPECT_EQ(check_client_header(planted("client/a.h", "#include <fmt/format.h>\n")).size(), 1U);
}

}  // namespace
}  // namespace waybill::tidy
