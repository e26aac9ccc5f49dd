// handlefs-oracle: runs one random sequence of file operations on a host
// directory and on a mount in lock step, and reports the first difference.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "gen.h"
#include "quirks.h"
#include "session.h"
#include "shrink.h"

namespace oracle {

namespace {

struct Options {
  std::string left, right, host_of_right, replay;
  uint64_t first = 1, last = 1;
  int steps = 500;
  int times = 48;
  uint64_t kinds = ~0ULL;
  bool shrink = true;
  bool verbose = false;
  bool keep_going = false;
  std::vector<std::string> quirks;
};

int Usage(const char* why) {
  if (why[0] != '\0') fprintf(stderr, "oracle: %s\n", why);
  fprintf(
      stderr,
      "usage: handlefs-oracle --left DIR --right DIR [--seed N | --seeds "
      "A..B]\n"
      "  [--steps N] [--host-of-right DIR] [--quirk NAME ...] [--ops LIST]\n"
      "  [--times N] [--replay FILE] [--no-shrink] [--keep-going] "
      "[--verbose] [--list-quirks]\n"
      "LEFT and RIGHT are emptied between the seeds; --times N looks at\n"
      "time stamps in one of N steps (0: never).\n");
  return 2;
}

bool ParseKinds(const std::string& list, uint64_t* kinds) {
  *kinds = 0;
  size_t at = 0;
  while (at <= list.size()) {
    size_t end = list.find(',', at);
    if (end == std::string::npos) end = list.size();
    Kind k;
    if (!FindKind(list.substr(at, end - at), &k)) return false;
    *kinds |= 1ULL << static_cast<int>(k);
    at = end + 1;
  }
  return true;
}

bool ParseSeeds(const std::string& text, Options* o) {
  size_t dots = text.find("..");
  char* end = nullptr;
  o->first = strtoull(text.c_str(), &end, 0);
  if (dots == std::string::npos) {
    o->last = o->first;
    return !text.empty() && *end == '\0';
  }
  o->last = strtoull(text.c_str() + dots + 2, &end, 0);
  return *end == '\0' && o->last >= o->first;
}

// Returns -1 to go on, or the exit status.
int ParseArgs(int argc, char** argv, Options* o) {
  for (int i = 1; i < argc; i++) {
    std::string a = argv[i];
    if (a == "--no-shrink") {
      o->shrink = false;
      continue;
    }
    if (a == "--verbose") {
      o->verbose = true;
      continue;
    }
    if (a == "--keep-going") {
      o->keep_going = true;
      continue;
    }
    if (a == "--list-quirks") {
      Quirks::PrintTable();
      return 0;
    }
    if (i + 1 >= argc) return Usage(("what is " + a).c_str());
    std::string v = argv[++i];
    if (a == "--left") {
      o->left = v;
    } else if (a == "--right") {
      o->right = v;
    } else if (a == "--host-of-right") {
      o->host_of_right = v;
    } else if (a == "--replay") {
      o->replay = v;
    } else if (a == "--seed" || a == "--seeds") {
      if (!ParseSeeds(v, o)) return Usage("bad seed");
    } else if (a == "--steps") {
      o->steps = atoi(v.c_str());
    } else if (a == "--times") {
      o->times = atoi(v.c_str());
    } else if (a == "--ops") {
      if (!ParseKinds(v, &o->kinds)) return Usage("unknown kind in --ops");
    } else if (a == "--quirk") {
      o->quirks.push_back(v);
    } else {
      return Usage(("unknown option " + a).c_str());
    }
  }
  if (o->left.empty() || o->right.empty()) return Usage("");
  if (o->steps <= 0) return Usage("bad --steps");
  if (geteuid() != 0) return Usage("must run as root");
  return -1;
}

bool ReadReplay(const std::string& file, std::vector<Op>* ops) {
  std::ifstream in(file);
  std::string line;
  int n = 0;
  if (!in) {
    fprintf(stderr, "oracle: cannot read %s\n", file.c_str());
    return false;
  }
  while (std::getline(in, line)) {
    n++;
    size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos || line[at] == '#') continue;
    if (line.rfind("oracle:", 0) == 0) continue;  // A saved report.
    Op op;
    if (!ParseOp(line, &op)) {
      fprintf(stderr, "oracle: %s:%d: not a step: %s\n", file.c_str(), n,
              line.c_str());
      return false;
    }
    ops->push_back(op);
  }
  return true;
}

Difference RunSeed(const Options& o, uint64_t seed, const Quirks& quirks,
                   Session* session, std::vector<Op>* ops) {
  Difference diff;
  std::string error;
  if (!session->Reset(&error)) {
    fprintf(stderr, "oracle: %s\n", error.c_str());
    exit(2);
  }
  Gen gen(seed, quirks, o.kinds, o.times);
  for (int i = 0; i < o.steps; i++) {
    if (i % 8 == 0) gen.SetLive(ListLive(o.left));
    Op op = gen.Next();
    ops->push_back(op);
    if (!session->Step(op, &diff)) {
      diff.step = i;
      return diff;
    }
    gen.Feedback(op, session->left_ret());
    if (o.verbose) {
      printf("%4d %s  # %s = %s\n", i, FormatOp(op).c_str(),
             DescribeOp(op).c_str(), ErrnoText(session->left_ret()).c_str());
    }
  }
  if (!session->Final(&diff)) diff.step = o.steps;
  return diff;
}

int Report(const Options& o, const std::string& name, Session* session,
           std::vector<Op> ops, Difference diff) {
  size_t before = ops.size();
  printf("oracle: %s: difference at step %d of %zu\n", name.c_str(), diff.step,
         before);
  if (!o.shrink || diff.fatal) {
    PrintReport(ops, diff);
    return 1;
  }
  fflush(stdout);
  Shrinker shrinker(session, diff);
  shrinker.Run(&ops, &diff);
  if (shrinker.reproduced()) {
    printf("oracle: shrunk from %zu to %zu steps in %d runs\n", before,
           ops.size(), shrinker.runs());
  } else {
    printf("oracle: did not happen again, full sequence follows\n");
  }
  PrintReport(ops, diff);
  return 1;
}

int Main(int argc, char** argv) {
  Options o;
  int status = ParseArgs(argc, argv, &o);
  if (status >= 0) return status;
  Quirks quirks;
  quirks.AddForHost(o.left);
  for (const std::string& q : o.quirks) {
    if (!quirks.Add(q)) return Usage(("unknown quirk " + q).c_str());
  }
  std::vector<Op> ops;
  if (!o.replay.empty() && !ReadReplay(o.replay, &ops)) return 2;
  Session session(quirks);
  std::string error;
  if (!session.Start(o.left, o.right, o.host_of_right, &error)) {
    fprintf(stderr, "oracle: %s\n", error.c_str());
    return 2;
  }
  if (!o.replay.empty()) {
    Difference diff = RunOps(&session, ops);
    if (diff.found()) return Report(o, "replay", &session, ops, diff);
    if (!session.Reset(&error)) return Usage(error.c_str());
    printf("oracle: replay: %zu steps, 0 differences\n", ops.size());
    return 0;
  }
  uint64_t total = 0, bad = 0;
  for (uint64_t seed = o.first; seed <= o.last; seed++) {
    ops.clear();
    Difference diff = RunSeed(o, seed, quirks, &session, &ops);
    if (diff.found()) {
      Report(o, "seed " + std::to_string(seed), &session, ops, diff);
      if (!o.keep_going || diff.fatal) return 1;
      bad++;
      continue;
    }
    total += ops.size();
    printf("oracle: seed %llu: %zu steps, 0 differences\n",
           static_cast<unsigned long long>(seed), ops.size());
    fflush(stdout);
  }
  if (!session.Reset(&error)) {
    fprintf(stderr, "oracle: %s\n", error.c_str());
    return 2;
  }
  if (o.last > o.first) {
    printf("oracle: %llu seeds, %llu steps, %llu differences\n",
           static_cast<unsigned long long>(o.last - o.first + 1),
           static_cast<unsigned long long>(total),
           static_cast<unsigned long long>(bad));
  }
  return bad == 0 ? 0 : 1;
}

}  // namespace

}  // namespace oracle

int main(int argc, char** argv) { return oracle::Main(argc, argv); }
