//! Tenants' facts and route numbers in the database.

use taut_core::log::{RouteNumbers, TenantFacts};
use taut_core::route::ROUTES_MAX;
use taut_core::{RouteBits, RouteName, TenantId};

use crate::database::{Database, FACTS, ROUTES, route_rows, words};

/// A tenant's facts; the default for one never seen.
pub(crate) fn facts(database: &Database, tenant: &TenantId) -> Result<TenantFacts, String> {
    let stored = database
        .read(|txn| Ok(txn.open_table(FACTS)?.get(tenant.as_str())?.map(|value| value.value().to_vec())))
        .map_err(|error| words(&error))?;
    match stored {
        Some(json) => serde_json::from_slice(&json)
            .map_err(|error| format!("the facts of tenant {tenant} are not readable: {error}")),
        None => Ok(TenantFacts::default()),
    }
}

/// Saves facts of several tenants at once.
pub(crate) fn save_facts(database: &Database, facts: &[(TenantId, TenantFacts)]) -> Result<(), String> {
    let save = |txn: &redb::WriteTransaction| {
        let mut table = txn.open_table(FACTS)?;
        for (tenant, facts) in facts {
            let json = serde_json::to_vec(facts).expect("facts are plain data");
            table.insert(tenant.as_str(), json.as_slice())?;
        }
        Ok(())
    };
    database.write(save).map_err(|error| words(&error))
}

/// Gives each name its number; numbers in `carried` are not reused.
pub(crate) fn route_numbers(
    database: &Database,
    tenant: &TenantId,
    names: &[RouteName],
    carried: RouteBits,
) -> Result<RouteNumbers, String> {
    let rows = rows_of(database, tenant)?;
    let assigned = assign(rows, names, carried)?;
    write(database, &[(tenant, &assigned)])?;
    Ok(assigned.numbers)
}

/// Gives the routes of many tenants their numbers in one transaction. Who has too many gets none here.
pub(crate) fn number_routes(
    database: &Database,
    tenants: &[(TenantId, Vec<RouteName>)],
    carried: impl Fn(&TenantId) -> RouteBits,
) -> Result<(), String> {
    let mut assigned = Vec::with_capacity(tenants.len());
    for (tenant, names) in tenants {
        if let Ok(of_tenant) = assign(rows_of(database, tenant)?, names, carried(tenant)) {
            assigned.push((tenant, of_tenant));
        }
    }
    let borrowed: Vec<_> = assigned.iter().map(|(tenant, assigned)| (*tenant, assigned)).collect();
    write(database, &borrowed)
}

fn write(database: &Database, all: &[(&TenantId, &Assigned)]) -> Result<(), String> {
    if all.iter().all(|(_, assigned)| assigned.added.is_empty() && assigned.freed.is_empty()) {
        return Ok(());
    }
    let write = |txn: &redb::WriteTransaction| {
        let mut table = txn.open_table(ROUTES)?;
        for (tenant, assigned) in all {
            for number in &assigned.freed {
                table.remove((tenant.as_str(), *number))?;
            }
            for (number, name) in &assigned.added {
                table.insert((tenant.as_str(), *number), name.as_str())?;
            }
        }
        Ok(())
    };
    database.write(write).map_err(|error| words(&error))
}

/// The name behind each number of a tenant's routes.
pub(crate) fn route_names(database: &Database, tenant: &TenantId) -> Result<Vec<(u8, RouteName)>, String> {
    let rows = rows_of(database, tenant)?;
    Ok(rows.into_iter().filter_map(|(number, name)| Some((number, RouteName::new(&name).ok()?))).collect())
}

fn rows_of(database: &Database, tenant: &TenantId) -> Result<Vec<(u8, String)>, String> {
    database.read(|txn| route_rows(&txn.open_table(ROUTES)?, tenant.as_str())).map_err(|error| words(&error))
}

#[derive(Debug, Default, PartialEq)]
struct Assigned {
    numbers: RouteNumbers,
    added: Vec<(u8, RouteName)>,
    freed: Vec<u8>,
}

/// Numbers never used come first, so that an entry on its way with an old number is not misread; only when all 64
/// are taken does a new route get the number of a removed one that no stored entry carries.
fn assign(rows: Vec<(u8, String)>, names: &[RouteName], carried: RouteBits) -> Result<Assigned, String> {
    let mut rows: Vec<(u8, RouteName)> =
        rows.into_iter().filter_map(|(number, name)| Some((number, RouteName::new(&name).ok()?))).collect();
    let mut assigned = Assigned::default();
    for name in names {
        if let Some((number, _)) = rows.iter().find(|(_, known)| known == name) {
            assigned.numbers.current.push(*number);
            continue;
        }
        let routes_max = u8::try_from(ROUTES_MAX).expect("64 fits");
        let unused = (0..routes_max).find(|number| rows.iter().all(|(taken, _)| taken != number));
        let number = unused.or_else(|| {
            let free = |(number, known): &&(u8, RouteName)| {
                !names.contains(known) && (carried & RouteBits::one(*number)).is_empty()
            };
            let number = rows.iter().find(free).map(|(number, _)| *number)?;
            rows.retain(|(taken, _)| *taken != number);
            assigned.freed.push(number);
            Some(number)
        });
        let number = number.ok_or_else(|| {
            format!("more than {ROUTES_MAX} routes, counting removed ones that stored envelopes still name")
        })?;
        rows.push((number, name.clone()));
        assigned.added.push((number, name.clone()));
        assigned.numbers.current.push(number);
    }
    assigned.numbers.removed = rows.into_iter().filter(|(_, known)| !names.contains(known)).collect();
    assigned.numbers.removed.sort();
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<RouteName> {
        texts.iter().map(|text| RouteName::new(text).unwrap()).collect()
    }

    fn rows(count: u8) -> Vec<(u8, String)> {
        (0..count).map(|number| (number, format!("r{number}"))).collect()
    }

    #[test]
    fn a_route_keeps_its_number_and_a_removed_one_is_told() {
        let assigned = assign(rows(2), &names(&["r1", "new"]), RouteBits::NONE).unwrap();
        assert_eq!(assigned.numbers.current, [1, 2]);
        assert_eq!(assigned.numbers.removed, [(0, RouteName::new("r0").unwrap())]);
    }

    #[test]
    fn a_number_that_a_stored_entry_carries_is_not_reused() {
        let carried = RouteBits::one(0) | RouteBits::one(1);
        let assigned = assign(rows(64), &names(&["new"]), carried).unwrap();
        assert_eq!(assigned.numbers.current, [2]);
        assert_eq!(assigned.freed, [2]);
        assert!(assign(rows(64), &names(&["new"]), RouteBits(u64::MAX)).is_err());
    }
}
