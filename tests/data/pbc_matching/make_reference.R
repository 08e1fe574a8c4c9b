# Men and women with primary biliary cirrhosis: matching by its written rule, weighting. No two scores are equal, so
# no rule about equals decides. Run inside this folder (R 4.2.2, survival 3.5.3). Debian's MatchIt 4.5.1 is not used:
# it passes nearer controls over.
suppressPackageStartupMessages({library(survival); library(jsonlite)})
d <- survival::pbc; d <- d[!is.na(d$trt), ]; d$male <- as.integer(d$sex == "m"); d$dead <- as.integer(d$status == 2)
d <- d[, c("id", "male", "dead", "age", "bili", "albumin", "edema", "hepato", "stage")]
write.csv(d, "data.csv", row.names = FALSE)
ps <- fitted(glm(male ~ age + bili + albumin + edema + factor(stage), binomial, d, control = glm.control(epsilon = 1e-14)))
stopifnot(!anyDuplicated(ps)); treated <- which(d$male == 1); treated <- treated[order(-ps[treated])]
by_hand <- function(caliper = Inf, ratio = 1, replace = FALSE, exact = NULL, distance = ps) {
  left <- which(d$male == 0); pairs <- NULL
  for (round in seq_len(ratio)) for (i in treated) {
    candidates <- if (replace) setdiff(left, pairs[pairs[, 1] == i, 2]) else left
    if (!is.null(exact)) candidates <- candidates[exact[candidates] == exact[i]]
    candidates <- candidates[abs(distance[candidates] - distance[i]) <= caliper]
    if (!length(candidates)) next
    j <- candidates[which.min(abs(distance[candidates] - distance[i]))]
    pairs <- rbind(pairs, c(i, j)); if (!replace) left <- setdiff(left, j) }
  w <- numeric(nrow(d)); w[unique(pairs[, 1])] <- 1; used <- unique(pairs[, 2])
  for (k in seq_len(nrow(pairs))) w[pairs[k, 2]] <- w[pairs[k, 2]] + 1 / sum(pairs[, 1] == pairs[k, 1])
  w[used] <- w[used] * length(used) / sum(w[used]); w }
out <- list(weights = list(nearest = by_hand(), nearest_3 = by_hand(ratio = 3), replace_3 = by_hand(ratio = 3, replace = TRUE),
  caliper_3 = by_hand(.1 * sd(ps), 3), caliper_replace_2 = by_hand(.05 * sd(ps), 2, TRUE),
  caliper_exact_2 = by_hand(.2 * sd(ps), 2, exact = d$hepato),
  linear_caliper_2 = by_hand(.05 * sd(qlogis(ps)), 2, distance = qlogis(ps))))
g <- glm(male ~ age + bili + albumin, binomial, d, control = glm.control(epsilon = 1e-14)); e <- fitted(g)
t <- d$male; y <- d$dead; X <- model.matrix(g)
make <- list(att = function(e) ifelse(t == 1, 1, e / (1 - e)), ate = function(e) ifelse(t == 1, 1 / e, 1 / (1 - e)),
             ato = function(e) ifelse(t == 1, 1 - e, e))
for (k in names(make)) {
  w <- make[[k]](e); p1 <- weighted.mean(y[t == 1], w[t == 1]); p0 <- weighted.mean(y[t == 0], w[t == 0])
  psi <- function(th) { w <- make[[k]](as.numeric(plogis(X %*% th[1:4])))
    cbind(X * as.numeric(t - plogis(X %*% th[1:4])), t * w * (y - th[5]), (1 - t) * w * (y - th[6])) }
  th <- c(coef(g), p1, p0); h <- 1e-6
  A <- sapply(1:6, function(j) { s <- replace(numeric(6), j, h); (colSums(psi(th + s)) - colSums(psi(th - s))) / (2 * h) })
  V <- solve(A) %*% crossprod(psi(th)) %*% t(solve(A)); d1 <- c(0, 0, 0, 0, 1, -1)
  out[[k]] <- list(risk_with = p1, risk_without = p0, risk_difference = p1 - p0, risk_ratio = p1 / p0,
    odds_ratio = p1 / (1 - p1) / (p0 / (1 - p0)), se_difference = sqrt(as.numeric(d1 %*% V %*% d1)),
    se_without = sqrt(V[6, 6])) }
write_json(out, "reference.json", digits = NA, auto_unbox = TRUE)
