// How commands are described to CLI11: small helpers over it, and one function per family that adds
// the family's commands. Included by the command_line*.cc only, because CLI11 is slow to compile.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/commands.h"
#include "tools/escape.h"
#include "tools/problem.h"

namespace waybill::cli {

/// Where a parsed command ends up, and what parsing needs to know.
struct CommandSink {
  std::optional<Command> chosen;
  WallTime now;
};

/// Adds a command whose options go into a struct of type T, which becomes the chosen command if
/// this is the one given.
template <class T>
std::pair<CLI::App*, T*> add_command(CLI::App& parent, const std::string& name,
                                     const std::string& help, CommandSink& sink) {
  auto options = std::make_shared<T>();
  CLI::App* app = parent.add_subcommand(name, help);
  app->fallthrough();
  app->callback([options, &sink] { sink.chosen = *options; });
  return {app, options.get()};
}

/// A family of commands, as `topic`: nothing by itself.
inline CLI::App* add_family(CLI::App& parent, const std::string& name, const std::string& help) {
  CLI::App* app = parent.add_subcommand(name, help);
  app->require_subcommand(1);
  app->fallthrough();
  return app;
}

/// An option whose text is parsed by `parse` (a Checked<...> function); its problem is what is
/// said.
template <class Target, class Parse>
CLI::Option* add_parsed(CLI::App* app, const std::string& name, Target& target, Parse parse,
                        const std::string& help, const std::string& type) {
  return app
      ->add_option_function<std::string>(
          name,
          [&target, parse, name](const std::string& text) {
            auto value = parse(text);
            if (!value) throw CLI::ValidationError(name, value.error().text);
            target = *value;
          },
          help)
      ->type_name(type);
}

/// As add_parsed, for an option that may be repeated.
template <class Value, class Parse>
CLI::Option* add_repeated(CLI::App* app, const std::string& name, std::vector<Value>& target,
                          Parse parse, const std::string& help, const std::string& type) {
  auto add = [&target, parse, name](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      auto value = parse(text);
      if (!value) throw CLI::ValidationError(name, value.error().text);
      target.push_back(*value);
    }
  };
  return app->add_option_function<std::vector<std::string>>(name, add, help)
      ->allow_extra_args(false)
      ->type_name(type);
}

/// An option that is one of a few words.
template <class Target, class Value>
CLI::Option* add_choice(CLI::App* app, const std::string& name, Target& target,
                        std::vector<std::pair<std::string, Value>> choices,
                        const std::string& help) {
  std::string words;
  for (const auto& [word, value] : choices) words += (words.empty() ? "" : "|") + word;
  auto parse = [choices, words](const std::string& text) -> Checked<Value> {
    for (const auto& [word, value] : choices) {
      if (word == text) return value;
    }
    return Problem{fmt::format("'{}' is not one of {}", escaped_line(text), words)};
  };
  return add_parsed(app, name, target, parse, help, words);
}

inline CLI::Option* add_compression(CLI::App* app, Codec& target) {
  return add_choice<Codec, Codec>(app, "--compression", target,
                                  {{"none", Codec::kNone},
                                   {"gzip", Codec::kGzip},
                                   {"snappy", Codec::kSnappy},
                                   {"lz4", Codec::kLz4},
                                   {"zstd", Codec::kZstd}},
                                  "Of each batch, where that makes it smaller; none");
}

void add_topic_commands(CLI::App& app, CommandSink& sink);
void add_publish_command(CLI::App& app, CommandSink& sink);
void add_producer_commands(CLI::App& app, CommandSink& sink);
void add_group_commands(CLI::App& app, CommandSink& sink);
void add_consume_command(CLI::App& app, CommandSink& sink);
void add_dead_letter_commands(CLI::App& app, CommandSink& sink);
void add_outbox_commands(CLI::App& app, CommandSink& sink);
void add_token_commands(CLI::App& app, CommandSink& sink);
void add_storage_commands(CLI::App& app, CommandSink& sink);
void add_bench_commands(CLI::App& app, CommandSink& sink);

}  // namespace waybill::cli
