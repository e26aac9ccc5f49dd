// Another program in this one's place: first it is asked whether it could go
// on with the state, while everything is served as before.
#ifndef HANDLEFS_DAEMON_RESTART_UPGRADE_H_
#define HANDLEFS_DAEMON_RESTART_UPGRADE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/restart/child.h"
#include "daemon/restart/holdings.h"
#include "daemon/service_manager.h"
#include "io/base/fd.h"

namespace handlefs {

// The question, on the side of who is asked. Nothing if there is none.
std::optional<UniqueFd> TakeStateToCheck();
// FAILED_PRECONDITION: this program cannot go on with it.
absl::Status CheckState(UniqueFd state);
// What is said if it can: a program that does not know the question may end
// with status 0 too.
inline constexpr char kCanGoOn[] = "handlefs can go on with this state";

// The question being asked.
struct Question {
  Child child;
  UniqueFd said;  // its stdout and stderr
};
// `arguments` is the command line without the program's name, `directory` where
// it was given. In the child it does not return.
Question AskProgram(const std::string& program,
                    const std::vector<std::string>& arguments,
                    const std::string& directory, BorrowedFd state);
// Its last line.
std::string AnswerOf(const Question& question);

// A process that stays beside a program that is about to be become, with the
// same holdings. It ends when it is dismissed; if the program ends before, it
// becomes this program again, which goes on with them. Meanwhile it is the
// service's main process to the manager. UNAVAILABLE: no descriptor or process
// is to be had.
absl::StatusOr<UniqueFd> StartGuard(const std::vector<std::string>& arguments,
                                    const std::string& directory,
                                    const ServiceManager& manager,
                                    const HoldingsView& holdings);
void DismissGuard(UniqueFd guard);

// Becomes the program, which finds the holdings, and `variables` (NAME=VALUE)
// in its environment. Returns only if that fails,
// and everything is as before.
absl::Status BecomeProgram(const std::string& program,
                           const std::vector<std::string>& arguments,
                           const std::string& directory,
                           std::vector<std::string> variables,
                           const HoldingsView& holdings);
// Starts this program beside this one, with the holdings.
absl::Status StartKeeper(const std::vector<std::string>& arguments,
                         const HoldingsView& holdings);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_UPGRADE_H_
