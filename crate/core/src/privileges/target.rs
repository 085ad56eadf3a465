//! Whom to become: the rules by which names and numbers are read.

use std::fmt;

use super::errors::refused;
use super::whom::{Identity, Whom};
use crate::accounts::{self, Account, Group};
use crate::error::{Code, Error, Result};

/// Whom to become, with all that must be known before anything is changed.
#[derive(Debug)]
pub struct Target {
    pub account: Option<Account>,
    pub uid: u32,
    pub group: Group,
    pub warnings: Vec<String>,
}

impl Target {
    pub fn choose(whom: &Whom) -> Result<Self> {
        let (user, group) = (whom.user.as_deref(), whom.group.as_deref());
        let daemon_name = whom.daemon_name.as_str();
        let mut warnings = Vec::new();
        let (uid, account) = match user.map(|user| id(user, "user")).transpose()?.flatten() {
            Some(uid) => (uid, accounts::user_by_uid(uid).map_err(unknown)?),
            None => {
                let account = existing(
                    "user",
                    user,
                    daemon_name,
                    accounts::user_by_name,
                    |account| account.uid,
                    &mut warnings,
                )?;
                // Whoever gives only a group may expect to keep the user.
                if let (None, Some(group)) = (user, group) {
                    warnings.push(format!(
                        "Only the group {group:?} was given, and no user: the user becomes {:?}. Give `user` \
                         with `group`.",
                        account.name
                    ));
                }
                (account.uid, Some(account))
            }
        };
        let group = match (group.map(|group| id(group, "group")).transpose()?.flatten(), &account) {
            (Some(gid), _) => group_with(gid)?,
            (None, Some(account)) if group.is_none() => group_with(account.gid)?,
            (None, _) => existing(
                "group",
                group,
                daemon_name,
                accounts::group_by_name,
                |group| group.gid,
                &mut warnings,
            )?,
        };
        for (id, kind) in [(uid, "user"), (group.gid, "group")] {
            if id == u32::MAX {
                return Err(no_id(&id.to_string(), kind));
            }
        }
        Ok(Self { account, uid, group, warnings })
    }

    pub fn identity(&self, groups: Vec<u32>) -> Identity {
        let (user, home, shell) = match &self.account {
            Some(Account { name, home, shell, .. }) => {
                (name.clone(), Some(home.clone()), Some(shell.clone()))
            }
            None => (self.uid.to_string(), None, None),
        };
        Identity {
            user,
            uid: self.uid,
            group: self.group.name.clone(),
            gid: self.group.gid,
            groups,
            home,
            shell,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "user {:?} (uid {})", account.name, self.uid)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        write!(f, ", group {:?} (gid {})", self.group.name, self.group.gid)
    }
}

/// The id, where it is given as a decimal number; `None` where it is a name.
fn id(text: &str, kind: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        // -1 tells setresuid(2) to change nothing, and to say that it worked.
        Err(_) | Ok(u32::MAX) => Err(no_id(text, kind)),
        Ok(id) => Ok(Some(id)),
    }
}

fn no_id(text: &str, kind: &str) -> Error {
    refused(format!("{text} is no {kind} id. Give a number from 0 to 4294967294, or a name."))
}

fn group_with(gid: u32) -> Result<Group> {
    Ok(accounts::group_by_gid(gid)
        .map_err(unknown)?
        .unwrap_or_else(|| Group { name: gid.to_string(), gid }))
}

/// Says what the user database was asked for, which did not answer.
pub fn unknown(error: Error) -> Error {
    error.explained(Code::Privileges, "Cannot look up whom to drop privileges to").hint(
        "Check the user database (nsswitch.conf, LDAP, sssd), or give user and group as numbers.",
    )
}

/// The user or group that was asked for, else the one with the daemon's name, else `daemon`.
fn existing<T>(
    kind: &str,
    asked: Option<&str>,
    daemon_name: &str,
    look_up: fn(&str) -> Result<Option<T>>,
    id: fn(&T) -> u32,
    warnings: &mut Vec<String>,
) -> Result<T> {
    if let Some(name) = asked
        && let Some(found) = look_up(name).map_err(unknown)?
    {
        return Ok(found);
    }
    for name in [daemon_name, "daemon"] {
        // Nobody asked for root here.
        let Some(found) = look_up(name).map_err(unknown)?.filter(|found| id(found) != 0) else {
            continue;
        };
        if let Some(asked) = asked {
            warnings.push(format!("The {kind} {asked:?} does not exist: using {name:?} instead."));
        }
        return Ok(found);
    }
    let asked = asked.map_or_else(String::new, |asked| format!("{asked:?}, "));
    Err(refused(format!(
        "Cannot drop privileges: none of the {kind}s {asked}{daemon_name:?}, \"daemon\" exists \
         (root does not count unless asked for). Create one of them ({kind}add --system NAME), \
         or name a {kind} that exists."
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_ids_and_the_rest_are_names() {
        assert_eq!(id("0", "user"), Ok(Some(0)));
        assert_eq!(id("4294967294", "user"), Ok(Some(4_294_967_294)));
        for name in ["", "-", "nobody", "0x10", "+5", " 5", "1e3", "５"] {
            assert_eq!(id(name, "user"), Ok(None), "{name:?}");
        }
    }

    #[test]
    fn ids_that_change_nothing_are_refused() {
        for text in ["-1", "4294967295", "4294967296", "99999999999999999999", "-0"] {
            assert!(id(text, "user").unwrap_err().message.contains("no user id"), "{text}");
        }
    }
}
