#include "json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace handlefs::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "handlefs-bench";
constexpr int kVersion = 1;

Json FactsToJson(const std::vector<Fact>& facts) {
  Json object = Json::object();
  for (const Fact& fact : facts) object[fact.name] = fact.value;
  return object;
}

std::vector<Fact> FactsFromJson(const Json& object) {
  std::vector<Fact> facts;
  for (const auto& [name, value] : object.items()) {
    facts.push_back({name, value.get<std::string>()});
  }
  return facts;
}

Json SampleToJson(const Sample& sample) {
  Json object = {{"repetition", sample.repetition},
                 {"value", sample.value},
                 {"server_cpu_us", sample.server_cpu_us}};
  if (!sample.extra.empty()) object["extra"] = sample.extra;
  return object;
}

double Measured(const Json& value) {
  double number = value.get<double>();
  if (!std::isfinite(number)) throw std::range_error("not a finite number");
  return number;
}

Sample SampleFromJson(const Json& object) {
  Sample sample;
  sample.repetition = object.at("repetition").get<int>();
  sample.value = Measured(object.at("value"));
  if (sample.value < 0) throw std::range_error("a negative value");
  sample.server_cpu_us = Measured(object.at("server_cpu_us"));
  if (object.contains("extra")) {
    for (const auto& [name, value] : object.at("extra").items()) {
      sample.extra[name] = Measured(value);
    }
  }
  return sample;
}

Outcome OutcomeFromJson(const std::string& name) {
  for (Outcome outcome : {Outcome::kMeasured, Outcome::kFailed,
                          Outcome::kUnsupported, Outcome::kNotReached}) {
    if (name == NameOf(outcome)) return outcome;
  }
  throw std::range_error("unknown outcome " + name);
}

Results ParseResults(const std::string& text) {
  Json all = Json::parse(text);
  if (all.at("format").get<std::string>() != kFormat) {
    throw std::range_error("it is not of handlefs-bench");
  }
  if (all.at("version").get<int>() != kVersion) {
    throw std::range_error("its version is not " + std::to_string(kVersion));
  }
  Results results;
  results.environment = FactsFromJson(all.at("environment"));
  results.settings = FactsFromJson(all.at("settings"));
  for (const Json& entry : all.at("systems")) {
    results.systems.push_back({entry.at("name").get<std::string>(),
                               entry.at("version").get<std::string>(),
                               entry.at("command").get<std::string>()});
  }
  for (const Json& entry : all.at("workloads")) {
    results.workloads.push_back({entry.at("name").get<std::string>(),
                                 entry.at("group").get<std::string>(),
                                 entry.at("unit").get<std::string>(),
                                 entry.at("about").get<std::string>(),
                                 entry.at("clients").get<int>()});
  }
  for (const Json& entry : all.at("cells")) {
    Cell cell{
        .workload = entry.at("workload").get<std::string>(),
        .system = entry.at("system").get<std::string>(),
        .outcome = OutcomeFromJson(entry.at("outcome").get<std::string>()),
        .reason = entry.at("reason").get<std::string>()};
    for (const Json& sample : entry.at("samples")) {
      cell.samples.push_back(SampleFromJson(sample));
    }
    results.cells.push_back(std::move(cell));
  }
  return results;
}

}  // namespace

std::string ToJson(const Results& results) {
  Json all;
  all["format"] = kFormat;
  all["version"] = kVersion;
  all["environment"] = FactsToJson(results.environment);
  all["settings"] = FactsToJson(results.settings);
  all["systems"] = Json::array();
  for (const SystemInfo& info : results.systems) {
    all["systems"].push_back({{"name", info.name},
                              {"version", info.version},
                              {"command", info.command}});
  }
  all["workloads"] = Json::array();
  for (const WorkloadInfo& info : results.workloads) {
    all["workloads"].push_back({{"name", info.name},
                                {"group", info.group},
                                {"unit", info.unit},
                                {"about", info.about},
                                {"clients", info.clients}});
  }
  all["cells"] = Json::array();
  for (const Cell& cell : results.cells) {
    Json samples = Json::array();
    for (const Sample& sample : cell.samples) {
      samples.push_back(SampleToJson(sample));
    }
    all["cells"].push_back({{"workload", cell.workload},
                            {"system", cell.system},
                            {"outcome", NameOf(cell.outcome)},
                            {"reason", cell.reason},
                            {"samples", samples}});
  }
  // What a program said may be no UTF-8.
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::variant<Results, std::string> FromJson(const std::string& text) {
  try {
    return ParseResults(text);
  } catch (const std::exception& error) {
    return std::string(error.what());
  }
}

}  // namespace handlefs::bench
